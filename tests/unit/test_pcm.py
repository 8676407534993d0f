import struct

import numpy as np
import pytest

from ears_edge.audio.pcm import MAX_CHANNELS, MAX_RATE, MIN_RATE, PcmFormat, decode, encode_f32, encode_s16
from ears_edge.errors import AudioFormatError


@pytest.mark.parametrize(
    ("pcm", "fmt", "expected"),
    [
        (bytes([0, 64, 128, 192, 255]), PcmFormat(8_000, 1, 1), [-1, -0.5, 0, 0.5, 127 / 128]),
        (
            struct.pack("<4h", -32768, -1, 0, 32767),
            PcmFormat(8_000, 2, 1),
            [-1, -1 / 32768, 0, 32767 / 32768],
        ),
        (b"\x00\x00\x80\xff\xff\xff\x00\x00\x40", PcmFormat(8_000, 3, 1), [-1, -(2.0**-23), 0.5]),
        (struct.pack("<3i", -(2**31), 2**30, 2**8), PcmFormat(8_000, 4, 1), [-1, 0.5, 2.0**-23]),
        (struct.pack("<3f", -1, 0.25, 1), PcmFormat(8_000, 4, 1, "float"), [-1, 0.25, 1]),
    ],
)
def test_every_width_has_its_scale(pcm: bytes, fmt: PcmFormat, expected: list[float]) -> None:
    samples = decode(pcm, fmt)
    assert samples.dtype == np.float32
    assert samples.shape == (len(expected),)
    np.testing.assert_array_equal(samples, np.array(expected, np.float32))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_no_bytes_are_no_samples(width: int) -> None:
    assert decode(b"", PcmFormat(16_000, width, 2)).shape == (0,)


def test_float_samples_that_are_not_finite_become_zero_and_loud_ones_are_clipped() -> None:
    pcm = struct.pack("<6f", float("nan"), float("inf"), float("-inf"), 3.5, -1e30, 0.5)
    np.testing.assert_array_equal(decode(pcm, PcmFormat(24_000, 4, 1, "float")), [0, 0, 0, 1, -1, 0.5])


def test_channels_are_mixed_to_their_mean() -> None:
    pcm = struct.pack("<6h", 8192, 0, 16384, -16384, -32768, -32768)
    np.testing.assert_array_equal(decode(pcm, PcmFormat(16_000, 2, 2)), [0.125, 0, -1])


def test_one_not_a_number_in_a_channel_does_not_spoil_the_others() -> None:
    pcm = struct.pack("<2f", float("nan"), 0.5)
    np.testing.assert_array_equal(decode(pcm, PcmFormat(16_000, 4, 2, "float")), [0.25])


@pytest.mark.parametrize("channels", [2, 9, MAX_CHANNELS])
def test_the_mix_of_a_frame_does_not_depend_on_its_neighbours(channels: int) -> None:
    fmt = PcmFormat(16_000, 4, channels, "float")
    pcm = np.random.default_rng(channels).uniform(-1, 1, 300 * channels).astype("<f4").tobytes()
    size = fmt.frame_bytes
    alone = [decode(pcm[at : at + size], fmt) for at in range(0, len(pcm), size)]
    np.testing.assert_array_equal(decode(pcm, fmt), np.concatenate(alone))


def test_eight_bits_are_unsigned_whatever_was_said() -> None:
    assert PcmFormat(8_000, 1, 1, "signed") == PcmFormat(8_000, 1, 1, "unsigned")
    assert PcmFormat.wyoming(8_000, 1, 1).encoding == "unsigned"
    assert PcmFormat.wyoming(8_000, 4, 1).encoding == "signed"


@pytest.mark.parametrize(
    ("rate", "width", "channels", "encoding", "says"),
    [
        (0, 2, 1, "signed", "0 Hz"),
        (-16_000, 2, 1, "signed", "-16000 Hz"),
        (MIN_RATE - 1, 2, 1, "signed", "999 Hz"),
        (MAX_RATE + 1, 2, 1, "signed", "768001 Hz"),
        (16_000, 0, 1, "signed", "0 bytes"),
        (16_000, 5, 1, "signed", "5 bytes"),
        (16_000, 2, 0, "signed", "0 channels"),
        (16_000, 2, MAX_CHANNELS + 1, "signed", "33 channels"),
        (16_000, 2, 1, "float", "only float32"),
        (16_000, 1, 1, "float", "only float32"),
        (16_000, 2, 1, "unsigned", "only 8-bit"),
    ],
)
def test_a_format_that_does_not_exist_is_refused(
    rate: int, width: int, channels: int, encoding: str, says: str
) -> None:
    with pytest.raises(AudioFormatError, match=says) as caught:
        PcmFormat(rate, width, channels, encoding)  # type: ignore[arg-type]  # the check is the point
    assert caught.value.code == "bad-audio"


@pytest.mark.parametrize("rate", [MIN_RATE, MAX_RATE])
def test_the_limits_themselves_are_allowed(rate: int) -> None:
    assert PcmFormat(rate, 4, MAX_CHANNELS).frame_bytes == 4 * MAX_CHANNELS


def test_a_ragged_block_is_refused() -> None:
    with pytest.raises(AudioFormatError, match="3 bytes"):
        decode(b"\0\0\0", PcmFormat(16_000, 2, 1))


def test_block_bytes_are_whole_frames_and_never_none() -> None:
    fmt = PcmFormat(44_100, 3, 2)
    assert fmt.block_bytes(0.1) == 4_410 * 6
    assert fmt.block_bytes(0) == 6
    assert fmt.seconds(4_410 * 6) == 0.1


def test_sixteen_bits_survive_the_way_there_and_back() -> None:
    pcm = np.arange(-32_768, 32_768).astype("<i2").tobytes()
    assert encode_s16(decode(pcm, PcmFormat(16_000, 2, 1))) == pcm


def test_encoding_clips_at_full_scale() -> None:
    assert encode_s16(np.array([1.5, -1.5, 1.0], np.float32)) == struct.pack("<3h", 32767, -32768, 32767)


def test_float_bytes_survive_the_way_there_and_back() -> None:
    pcm = struct.pack("<3f", 0.1, -0.2, 1.0)
    assert encode_f32(decode(pcm, PcmFormat(24_000, 4, 1, "float"))) == pcm
