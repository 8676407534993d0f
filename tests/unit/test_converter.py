import io
import struct
import wave

import numpy as np
import pytest
import soxr

from ears_edge.audio.converter import Converter
from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import AudioFormatError
from ears_edge.units import F32

S16 = PcmFormat(16_000, 2, 1)
STEREO = PcmFormat(48_000, 2, 2)


def noise(frames: int, channels: int = 1) -> bytes:
    return np.random.default_rng(frames).integers(-9_000, 9_000, frames * channels).astype("<i2").tobytes()


def convert(*blocks: tuple[bytes, PcmFormat]) -> F32:
    converter = Converter()
    heard = [converter.feed(pcm, fmt) for pcm, fmt in blocks]
    return np.concatenate([*heard, converter.flush()])


def wav(pcm: bytes, fmt: PcmFormat) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((fmt.channels, fmt.width, fmt.rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def test_sixteen_kilohertz_comes_out_as_it_went_in() -> None:
    pcm = noise(1_000)
    np.testing.assert_array_equal(convert((pcm, S16)), np.frombuffer(pcm, "<i2") / np.float32(32_768))


def test_stereo_at_48_khz_is_mixed_and_resampled() -> None:
    pcm = noise(4_800, 2)
    mono = (np.frombuffer(pcm, "<i2").reshape(-1, 2).mean(axis=1) / 32_768).astype(np.float32)
    np.testing.assert_allclose(convert((pcm, STEREO)), soxr.resample(mono, 48_000, 16_000), atol=1e-6)


def test_nothing_in_nothing_out() -> None:
    assert convert().shape == (0,)
    assert convert((b"", S16), (b"", STEREO)).shape == (0,)


def test_a_partial_frame_waits_for_its_rest() -> None:
    pcm = noise(100, 2)
    whole = convert((pcm, STEREO))
    np.testing.assert_array_equal(convert((pcm[:7], STEREO), (pcm[7:], STEREO)), whole)


def test_a_partial_frame_at_the_end_is_dropped() -> None:
    np.testing.assert_array_equal(convert((noise(100) + b"\x7f", S16)), convert((noise(100), S16)))


def test_another_format_goes_on_where_the_old_one_ended() -> None:
    first, second = noise(4_801, 2), noise(500)
    parts = np.concatenate((convert((first, STEREO)), convert((second, S16))))
    np.testing.assert_array_equal(convert((first, STEREO), (second, S16)), parts)


def test_a_partial_frame_does_not_leak_into_another_format() -> None:
    first, second = noise(480, 2), noise(500)
    parts = np.concatenate((convert((first, STEREO)), convert((second, S16))))
    np.testing.assert_array_equal(convert((first + b"\x55\x55\x55", STEREO), (second, S16)), parts)


def test_an_empty_block_of_another_format_changes_nothing() -> None:
    pcm = noise(480, 2)
    whole = convert((pcm, STEREO))
    np.testing.assert_array_equal(convert((pcm[:101], STEREO), (b"", S16), (pcm[101:], STEREO)), whole)


@pytest.mark.parametrize("cut", [0, 1, 11, 20, 44, 45, 300])
def test_a_wave_header_is_read_not_heard_and_its_format_wins(cut: int) -> None:
    pcm = noise(480, 2)
    file = wav(pcm, STEREO)
    np.testing.assert_array_equal(convert((file[:cut], S16), (file[cut:], S16)), convert((pcm, STEREO)))


def test_behind_a_wave_header_a_change_of_the_declared_format_does_not_count() -> None:
    pcm = noise(480, 2)
    file = wav(pcm, STEREO)
    heard = convert((file[:100], S16), (file[100:], PcmFormat(8_000, 1, 1)))
    np.testing.assert_array_equal(heard, convert((pcm, STEREO)))


def test_a_wave_header_later_in_the_stream_is_sound() -> None:
    file = wav(noise(100), S16)
    assert len(convert((noise(10) + file, S16))) == 10 + len(file) // 2


def test_a_format_change_before_the_header_is_whole_makes_it_sound() -> None:
    file = wav(noise(100), S16)
    heard = convert((file[:8], PcmFormat(16_000, 4, 1)), (file[8:], S16))
    assert len(heard) == 2 + (len(file) - 8) // 2


def test_a_stream_too_short_to_tell_is_sound() -> None:
    assert len(convert((b"RIFF", S16))) == 2


def test_a_broken_header_is_an_error() -> None:
    with pytest.raises(AudioFormatError, match="ends before"):
        convert((wav(noise(10), S16)[:20], S16))
    with pytest.raises(AudioFormatError, match="0x0031"):
        convert((wav(noise(10), S16).replace(struct.pack("<H", 1), struct.pack("<H", 0x31), 1), S16))


def test_a_stalled_stream_goes_on_as_if_there_had_been_silence() -> None:
    first, second = noise(4_801, 2), noise(500, 2)
    converter = Converter()
    heard = [
        converter.feed(first, STEREO),
        converter.stall(),
        converter.stall(),
        converter.feed(second, STEREO),
    ]
    parts = np.concatenate((convert((first, STEREO)), convert((second, STEREO))))
    np.testing.assert_array_equal(np.concatenate([*heard, converter.flush()]), parts)


def test_a_stall_does_not_lose_the_place_inside_a_sample_frame() -> None:
    pcm = noise(100)
    converter = Converter()
    heard = [
        converter.feed(pcm[:101], S16),
        converter.stall(),
        converter.feed(pcm[101:], S16),
        converter.flush(),
    ]
    np.testing.assert_array_equal(np.concatenate(heard), convert((pcm, S16)))


def test_a_stall_settles_that_a_short_beginning_is_sound() -> None:
    converter = Converter()
    assert len(converter.feed(b"RIFF", S16)) == 0
    assert len(converter.stall()) == 2
    assert len(converter.feed(wav(noise(10), S16), S16)) == 22 + 10


@pytest.mark.parametrize("cut", [0, 20, 44, 300])
def test_a_stall_before_in_or_behind_a_wave_header_does_not_make_it_sound(cut: int) -> None:
    pcm = noise(480)
    file = wav(pcm, PcmFormat(16_000, 2, 1))
    other = PcmFormat(8_000, 1, 1)
    converter = Converter()
    heard = [converter.feed(file[:cut], other), converter.stall(), converter.feed(file[cut:], other)]
    np.testing.assert_array_equal(np.concatenate([*heard, converter.flush()]), convert((pcm, S16)))


def test_another_rate_than_16_khz_may_be_asked_for() -> None:
    converter = Converter(24_000)
    assert len(converter.feed(noise(1_600), S16)) + len(converter.flush()) == 2_400
