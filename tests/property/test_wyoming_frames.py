"""Framing does not depend on how bytes arrive, and garbage is only ever refused."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ears_edge.errors import PeerProtocolError
from ears_edge.wire.wyoming_frames import Frame, FrameReader, encode

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates are no UTF-8.
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["describe", "ping", "audio-chunk", "ü"])
FRAMES = st.builds(
    Frame, NAMES, st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), st.binary(max_size=40)
)
HEADER_LIKE = st.sampled_from(
    [
        b'{"type":"t"}\n',
        b'{"type":"t","data_length":2}\n',
        b'{"type":"t","payload_length":3}\n',
        b'{"type":"t","data":{"a":[]},"data_length":8,"payload_length":1}\n',
        b'{"type":"t","data_length":1e1}\n',
        b'{"data_length":0}\n',
        b"{}",
        b'{"a":1}\n',
        b"[" * 30,
        b"\n",
    ]
)
STREAMS = st.lists(HEADER_LIKE | st.binary(max_size=20) | FRAMES.map(encode), max_size=8).map(b"".join)
LIMITS = {"max_header_bytes": 120, "max_data_bytes": 400, "max_payload_bytes": 30}


def outcome(blocks: list[bytes]) -> tuple[list[Frame], str | None, bool]:
    """The frames read, the code that ended it, and whether a frame had begun at the end."""
    reader = FrameReader(**LIMITS)
    read: list[Frame] = []
    for block in blocks:
        reader.receive(block)
        try:
            while (frame := reader.next_frame()) is not None:
                read.append(frame)
        except PeerProtocolError as exc:
            return read, exc.code, False
    return read, None, reader.mid_frame


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 400), max_size=20))
def test_any_bytes_give_the_same_frames_or_the_same_error_however_they_are_cut(
    stream: bytes, cuts: list[int]
) -> None:
    whole = outcome([stream])
    assert outcome(split(stream, cuts)) == whole
    assert outcome([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(frames=st.lists(FRAMES, max_size=5), cuts=st.lists(st.integers(0, 1_000), max_size=20))
def test_what_is_encoded_is_read_back(frames: list[Frame], cuts: list[int]) -> None:
    reader = FrameReader(max_header_bytes=200, max_data_bytes=4_000, max_payload_bytes=40)
    read: list[Frame] = []
    for block in split(b"".join(map(encode, frames)), cuts):
        reader.receive(block)
        while (frame := reader.next_frame()) is not None:
            read.append(frame)
    assert read == frames
    assert not reader.mid_frame
