"""Framing: what is read, what is refused, and by which code."""

import asyncio
import json

import pytest
from wyoming.event import Event, async_read_event, async_write_event

from ears_edge.errors import PeerProtocolError
from ears_edge.wire.wyoming_frames import Frame, FrameReader, encode

LIMITS = {"max_header_bytes": 200, "max_data_bytes": 100, "max_payload_bytes": 50}


def frames(stream: bytes) -> list[Frame]:
    reader = FrameReader(**LIMITS)
    reader.receive(stream)
    read: list[Frame] = []
    while (frame := reader.next_frame()) is not None:
        read.append(frame)
    return read


def test_a_bare_type_is_a_whole_frame() -> None:
    assert frames(b'{"type":"describe"}\n') == [Frame("describe")]


def test_inline_data_is_read() -> None:
    assert frames(b'{"type":"t","data":{"a":1}}\n') == [Frame("t", {"a": 1})]


def test_separate_data_is_merged_over_inline_data() -> None:
    stream = b'{"type":"t","data":{"a":1,"b":2},"data_length":13}\n{"b":3,"c":4}'
    assert frames(stream) == [Frame("t", {"a": 1, "b": 3, "c": 4})]


def test_a_payload_follows_the_data_and_may_hold_anything() -> None:
    stream = b'{"type":"t","data_length":2,"payload_length":4}\n{}\n\x00{"' + b'{"type":"u"}\n'
    assert frames(stream) == [Frame("t", {}, b'\n\x00{"'), Frame("u")]


def test_null_members_are_as_missing_ones() -> None:
    stream = b'{"type":"t","data":null,"data_length":null,"payload_length":null,"version":null}\n'
    assert frames(stream) == [Frame("t")]


def test_unknown_members_and_a_carriage_return_are_passed_over() -> None:
    assert frames(b'{"type":"t","more":[1]}\r\n') == [Frame("t")]


def test_of_members_that_stand_twice_the_last_counts() -> None:
    assert frames(b'{"type":"a","type":"b","data":{"x":1,"x":2}}\n') == [Frame("b", {"x": 2})]


def test_everything_exactly_at_its_limit_is_read() -> None:
    data = json.dumps({"x": "y" * 91}).encode()
    assert len(data) == LIMITS["max_data_bytes"]
    head = b'{"type":"t","data_length":100,"payload_length":50'
    head += b" " * (LIMITS["max_header_bytes"] - len(head) - 1) + b"}"
    assert frames(head + b"\n" + data + bytes(50)) == [Frame("t", {"x": "y" * 91}, bytes(50))]


BROKEN = [
    (b"\n", "bad-header"),
    (b"hello\n", "bad-header"),
    (b"GET / HTTP/1.1\r\n", "bad-header"),
    (b"[]\n", "bad-header"),
    (b"null\n", "bad-header"),
    (b"{}\n", "bad-header"),
    (b'{"type":5}\n', "bad-header"),
    (b'{"type":""}\n', "bad-header"),
    (b'{"type":null}\n', "bad-header"),
    (b'{"type":"t"} x\n', "bad-header"),
    (b'{"type":"\xff"}\n', "bad-header"),
    (b'{"type":"\\ud800"}\n', "bad-header"),
    (b'{"type":"t","data":{"x":NaN}}\n', "bad-header"),
    (b'{"type":"t","data":{"x":Infinity}}\n', "bad-header"),
    (b'{"type":"t","x":1e999}\n', "bad-header"),
    (b'\xef\xbb\xbf{"type":"t"}\n', "bad-header"),
    (b'{"type":"t","data":[]}\n', "bad-data"),
    (b'{"type":"t","data":"x"}\n', "bad-data"),
    (b'{"type":"t","data":false}\n', "bad-data"),
    (b'{"type":"t","data_length":-1}\n', "bad-length"),
    (b'{"type":"t","payload_length":-1}\n', "bad-length"),
    (b'{"type":"t","data_length":true}\n', "bad-length"),
    (b'{"type":"t","payload_length":"5"}\n', "bad-length"),
    (b'{"type":"t","payload_length":2.0}\n', "bad-length"),
    (b'{"type":"t","payload_length":[]}\n', "bad-length"),
    (b'{"type":"t","data_length":101}\n', "data-too-long"),
    (b'{"type":"t","payload_length":51}\n', "payload-too-long"),
    (b'{"type":"t","payload_length":2147483648}\n', "payload-too-long"),
    (b'{"type":"t","data_length":' + b"9" * 100 + b"}\n", "data-too-long"),
    (b'{"type":"t","data_length":2}\nxx', "bad-data"),
    (b'{"type":"t","data_length":2}\n[]', "bad-data"),
    (b'{"type":"t","data_length":4}\nnull', "bad-data"),
    (b'{"type":"t","data_length":9}\n{"x":NaN}', "bad-data"),
    (b'{"type":"t","data_length":9}\n{"x":"\xff"}', "bad-data"),
    (b"x" * 201, "header-too-long"),
    (b"x" * 201 + b"\n", "header-too-long"),
]


@pytest.mark.parametrize(("stream", "code"), BROKEN)
def test_what_cannot_be_read_on_from_is_refused_by_its_code(stream: bytes, code: str) -> None:
    reader = FrameReader(**LIMITS)
    reader.receive(b'{"type":"before"}\n' + stream + b'{"type":"after"}\n')
    assert reader.next_frame() == Frame("before")
    for _ in range(2):
        with pytest.raises(PeerProtocolError) as caught:
            reader.next_frame()
        assert caught.value.code == code
        assert str(caught.value).endswith(".")


def test_nesting_too_deep_for_the_parser_is_bad_data() -> None:
    reader = FrameReader(max_header_bytes=200, max_data_bytes=1_000_000, max_payload_bytes=1)
    nested = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    reader.receive(b'{"type":"t","data_length":%d}\n' % len(nested) + nested)
    with pytest.raises(PeerProtocolError, match="deep") as caught:
        reader.next_frame()
    assert caught.value.code == "bad-data"


def test_sizes_are_refused_before_their_bytes_arrive() -> None:
    reader = FrameReader(**LIMITS)
    reader.receive(b'{"type":"t","payload_length":51}\n')
    with pytest.raises(PeerProtocolError, match="longer than 50 bytes"):
        reader.next_frame()


def test_a_frame_that_has_begun_is_known_at_the_end_of_the_stream() -> None:
    stream = b'{"type":"t","data_length":2,"payload_length":3}\n{}abc'
    for cut in range(len(stream) + 1):
        reader = FrameReader(**LIMITS)
        reader.receive(stream[:cut])
        whole = reader.next_frame() is not None
        assert whole is (cut == len(stream))
        assert reader.mid_frame is (0 < cut < len(stream))


async def test_the_wyoming_package_reads_what_we_write() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(encode(Frame("transcript", {"text": "grüße\n\u2028"}, b"\x00\n")) + encode(Frame("x")))
    assert await async_read_event(reader) == Event("transcript", {"text": "grüße\n\u2028"}, b"\x00\n")
    assert await async_read_event(reader) == Event("x")


class _Sink:
    """As much of a StreamWriter as the package's writer uses."""

    def __init__(self) -> None:
        self.stream = b""

    def write(self, piece: bytes) -> None:
        self.stream += piece

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.stream += b"".join(pieces)

    async def drain(self) -> None:
        pass


async def test_we_read_what_the_wyoming_package_writes() -> None:
    sink = _Sink()
    await async_write_event(Event("t", {"ü": [1, None]}, b"\n\n"), sink)  # type: ignore[arg-type]  # see _Sink
    assert frames(sink.stream) == [Frame("t", {"ü": [1, None]}, b"\n\n")]
