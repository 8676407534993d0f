import struct

import pytest

from ears_edge.audio.pcm import PcmFormat
from ears_edge.audio.riff import MAX_HEADER_BYTES, RiffReader
from ears_edge.errors import AudioFormatError

SOUND = bytes(range(1, 101)) * 2
TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return (
        name
        + struct.pack("<I", len(content) if size is None else size)
        + content
        + b"\0" * (len(content) % 2)
    )


def fmt(
    codec: int = 1, channels: int = 1, rate: int = 22_050, bits: int = 16, *, frame: int | None = None
) -> bytes:
    size = channels * ((bits + 7) // 8) if frame is None else frame
    return struct.pack("<HHIIHH", codec, channels, rate, 0, size, bits)


def extensible(subcode: int, tail: bytes = TAIL, bits: int = 16, width: int = 2) -> bytes:
    return (
        fmt(0xFFFE, 1, 48_000, width * 8)
        + struct.pack("<HHI", 22, bits, 4)
        + struct.pack("<H", subcode)
        + tail
    )


def wave(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read(stream: bytes, piece: int = 10_000) -> tuple[bytes, PcmFormat | None]:
    reader = RiffReader()
    sound = b"".join(reader.feed(stream[at : at + piece]) for at in range(0, len(stream), piece))
    return sound + reader.finish(), reader.fmt


PLAIN_WAVE = wave(chunk(b"fmt ", fmt()), chunk(b"data", SOUND))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 11, 12, 13, 44, 45, 10_000])
@pytest.mark.parametrize(
    "stream",
    [
        PLAIN_WAVE,
        wave(
            chunk(b"LIST", b"INFOodd"),
            chunk(b"fmt ", fmt() + b"\0\0"),
            chunk(b"fact", b"1234"),
            chunk(b"data", SOUND),
        ),
        wave(chunk(b"fmt ", fmt()), chunk(b"data", SOUND), chunk(b"LIST", b"not to be heard")),
        wave(chunk(b"fmt ", fmt()), chunk(b"data", SOUND, 0)),
        wave(chunk(b"fmt ", fmt()), chunk(b"data", SOUND, 0xFFFFFFFF)),
        wave(chunk(b"fmt ", fmt()), chunk(b"data", SOUND, 0x7FFFFFFF)),
    ],
    ids=["plain", "other chunks", "chunks behind", "size 0", "size -1", "size never reached"],
)
def test_only_the_data_chunk_is_sound(stream: bytes, piece: int) -> None:
    assert read(stream, piece) == (SOUND, PcmFormat(22_050, 2, 1))


@pytest.mark.parametrize("piece", [1, 3, 1_000])
@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"R",
        b"RIFF",
        b"RIFF\x10\0\0\0WAV",
        b"RIFF\x10\0\0\0AVI LIST" + SOUND,
        b"RIFX\0\0\0\0WAVE" + SOUND,
        b"riff\0\0\0\0WAVE" + SOUND,
        b"\0RIFF\0\0\0\0WAVE" + SOUND,
        SOUND,
    ],
)
def test_what_is_no_wave_header_is_sound(stream: bytes, piece: int) -> None:
    assert read(stream, piece) == (stream, None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (fmt(1, 2, 8_000, 8), PcmFormat(8_000, 1, 2)),
        (fmt(1, 1, 44_100, 24), PcmFormat(44_100, 3, 1)),
        (fmt(1, 1, 44_100, 32), PcmFormat(44_100, 4, 1)),
        (fmt(3, 2, 48_000, 32), PcmFormat(48_000, 4, 2, "float")),
        (fmt(1, 1, 16_000, 12), PcmFormat(16_000, 2, 1)),
        (extensible(1), PcmFormat(48_000, 2, 1)),
        (extensible(1, bits=20, width=3), PcmFormat(48_000, 3, 1)),
        (extensible(3, bits=32, width=4), PcmFormat(48_000, 4, 1, "float")),
    ],
)
def test_the_header_tells_the_format(content: bytes, expected: PcmFormat) -> None:
    assert read(wave(chunk(b"fmt ", content), chunk(b"data", SOUND))) == (SOUND, expected)


@pytest.mark.parametrize("piece", [1, 10_000])
@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (wave(chunk(b"fmt ", fmt(6)), chunk(b"data", SOUND)), "0x0006"),
        (wave(chunk(b"fmt ", fmt(0x55)), chunk(b"data", SOUND)), "0x0055"),
        (wave(chunk(b"fmt ", extensible(7)), chunk(b"data", SOUND)), "0x0007"),
        (wave(chunk(b"fmt ", extensible(1, TAIL[::-1])), chunk(b"data", SOUND)), "0xfffe"),
        (wave(chunk(b"fmt ", fmt(0xFFFE)), chunk(b"data", SOUND)), "extension is missing"),
        (wave(chunk(b"fmt ", fmt(3, 1, 48_000, 64)), chunk(b"data", SOUND)), "8 bytes"),
        (wave(chunk(b"fmt ", fmt(rate=0)), chunk(b"data", SOUND)), "0 Hz"),
        (wave(chunk(b"fmt ", fmt(rate=0xFFFFFFFF)), chunk(b"data", SOUND)), "4294967295 Hz"),
        (wave(chunk(b"fmt ", fmt(channels=0, frame=2)), chunk(b"data", SOUND)), "0 channels"),
        (wave(chunk(b"fmt ", fmt(channels=64)), chunk(b"data", SOUND)), "64 channels"),
        (wave(chunk(b"fmt ", fmt(channels=2, frame=3)), chunk(b"data", SOUND)), "contradicts"),
        (wave(chunk(b"fmt ", fmt(bits=16, frame=0)), chunk(b"data", SOUND)), "contradicts"),
        (wave(chunk(b"fmt ", fmt(bits=24, frame=2)), chunk(b"data", SOUND)), "contradicts"),
        (wave(chunk(b"fmt ", fmt(bits=0, frame=2)), chunk(b"data", SOUND)), "contradicts"),
        (wave(chunk(b"fmt ", b"short")), "5 bytes"),
        (wave(chunk(b"fmt ", b"\0" * 2_000)), "2000 bytes"),
        (wave(chunk(b"data", SOUND)), "before its `fmt ` chunk"),
        (wave(chunk(b"JUNK", b"", MAX_HEADER_BYTES)), "longer than"),
        (wave(chunk(b"JUNK", b"", 0xFFFFFFFF)), "longer than"),
        (wave(*[chunk(b"JUNK", b"\0" * 100_000)] * 11), "longer than"),
        (wave(), "ends before"),
        (wave(chunk(b"fmt ", fmt())), "ends before"),
        (PLAIN_WAVE[:30], "ends before"),
        (PLAIN_WAVE[:43], "ends before"),
    ],
)
def test_a_broken_header_is_an_error_that_says_what(stream: bytes, says: str, piece: int) -> None:
    with pytest.raises(AudioFormatError, match=says):
        read(stream, piece)


def test_a_header_with_no_sound_behind_it_is_silence() -> None:
    assert read(wave(chunk(b"fmt ", fmt()), chunk(b"data", b""))) == (b"", PcmFormat(22_050, 2, 1))


def test_skipped_chunks_are_not_kept_in_memory() -> None:
    reader = RiffReader()
    reader.feed(wave(chunk(b"JUNK", b"", MAX_HEADER_BYTES - 100)))
    for _ in range(100):
        reader.feed(b"\0" * 10_000)
        assert len(reader._held) <= 10_000


def test_a_header_given_up_is_sound_and_so_is_the_rest() -> None:
    reader = RiffReader()
    assert reader.feed(PLAIN_WAVE[:5]) == b""
    assert reader.undecided
    assert reader.give_up() == PLAIN_WAVE[:5]
    assert not reader.undecided
    assert reader.feed(PLAIN_WAVE) == PLAIN_WAVE
