"""However the client cuts its audio, the engine hears the same samples, to the bit."""

import itertools
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.audio.converter import Converter
from ears_edge.audio.pcm import Encoding, PcmFormat
from ears_edge.audio.riff import RiffReader
from ears_edge.errors import AudioFormatError
from ears_edge.units import F32

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000]) | st.integers(
    1_000, 768_000
)


@st.composite
def formats(draw: st.DrawFn) -> PcmFormat:
    width = draw(st.integers(1, 4))
    encodings: list[Encoding] = ["signed", "float"] if width == 4 else ["signed"]
    return PcmFormat(draw(RATES), width, draw(st.integers(1, 32)), draw(st.sampled_from(encodings)))


def header(fmt: PcmFormat, size: int) -> bytes:
    codec = 3 if fmt.encoding == "float" else 1
    content = struct.pack("<HHIIHH", codec, fmt.channels, fmt.rate, 0, fmt.frame_bytes, fmt.width * 8)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + content + b"data" + struct.pack("<I", size)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, *(cut % (len(stream) + 1) for cut in cuts), len(stream)})
    return [stream[at:to] for at, to in itertools.pairwise(places)]


def convert(blocks: list[bytes], fmt: PcmFormat) -> F32:
    converter = Converter()
    heard = [converter.feed(block, fmt) for block in blocks]
    return np.concatenate([*heard, converter.flush()])


CUTS = st.lists(st.integers(0, 2**20), max_size=60)


@given(
    fmt=formats(), frames=st.integers(0, 3_000), seed=st.integers(0, 9), cuts=CUTS, ragged=st.integers(0, 3)
)
def test_samples_do_not_depend_on_how_the_bytes_were_cut(
    fmt: PcmFormat, frames: int, seed: int, cuts: list[int], ragged: int
) -> None:
    stream = np.random.default_rng(seed).bytes(frames * fmt.frame_bytes + ragged)
    once = convert([stream], fmt)
    np.testing.assert_array_equal(convert(pieces(stream, cuts), fmt), once)
    heard = len(stream) // fmt.frame_bytes
    assert len(once) == (2 * heard * 16_000 + fmt.rate) // (2 * fmt.rate)


@given(fmt=formats(), declared=formats(), frames=st.integers(0, 300), cuts=CUTS)
def test_a_header_is_never_heard_however_it_was_cut(
    fmt: PcmFormat, declared: PcmFormat, frames: int, cuts: list[int]
) -> None:
    pcm = np.random.default_rng(frames).bytes(frames * fmt.frame_bytes)
    blocks = pieces(header(fmt, len(pcm)) + pcm + b"LIST\4\0\0\0tail" * bool(pcm), cuts)
    np.testing.assert_array_equal(convert(blocks, declared), convert([pcm], fmt))


@given(stream=st.binary(max_size=300), wave=st.booleans(), cuts=CUTS)
def test_any_garbage_is_sound_or_one_clear_error(stream: bytes, wave: bool, cuts: list[int]) -> None:  # noqa: FBT001  # hypothesis passes by name
    stream = b"RIFF\0\0\0\0WAVE" * wave + stream
    outcomes: list[bytes | str] = []
    for blocks in ([stream], pieces(stream, cuts)):
        reader = RiffReader()
        try:
            outcomes.append(b"".join([*map(reader.feed, blocks), reader.finish()]))
        except AudioFormatError as exc:
            outcomes.append(str(exc))
    assert outcomes[0] == outcomes[1]
