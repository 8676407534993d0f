"""Wyoming's framing, sans-I/O: bytes <-> frames.

A frame is one JSON line `{"type", "data"?, "data_length"?, "payload_length"?, "version"?}` ended by a line
feed, then `data_length` bytes of JSON merged over `data`, then `payload_length` bytes of payload.

Replaces the reader of the `wyoming` package, which has no limit on what a peer may declare and can't tell
broken JSON from the end of the stream.

Source: wyoming 1.10.2, event.py.
"""

from dataclasses import dataclass, field
from typing import Final

from wyoming import version

from ears_edge.errors import PeerProtocolError
from ears_edge.typed import ShapeError, parse_json_object, to_json

_LF: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it stands on the wire."""

    type: str
    data: dict[str, object] = field(default_factory=dict)
    """JSON values: inline data, and the separate data merged over it."""
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class _Header:
    type: str
    data: dict[str, object]
    data_length: int
    payload_length: int


class FrameReader:
    """Bytes in, frames out. The frames do not depend on how the bytes were cut into blocks.

    Call `receive()` with a block, then `next_frame()` until it gives None. What a peer declares is checked
    before anything is kept for it; at most one frame of the largest size and one block are held. Of members
    that stand twice in one JSON object the last one counts.

    The codes of its errors: `header-too-long`, `bad-header`, `bad-length`, `data-too-long`,
    `payload-too-long`, `bad-data`.
    """

    def __init__(self, *, max_header_bytes: int, max_data_bytes: int, max_payload_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self._max_data_bytes = max_data_bytes
        self._max_payload_bytes = max_payload_bytes
        self._buffer = bytearray()
        self._searched = 0
        """Bytes at the front of the buffer that hold no line feed: no byte is looked at twice."""
        self._header: _Header | None = None
        """The header of the frame whose data and payload are awaited."""
        self._broken: PeerProtocolError | None = None

    @property
    def mid_frame(self) -> bool:
        """True if a frame has begun that is not whole: the end of the stream here cuts it off."""
        return self._header is not None or bool(self._buffer)

    def receive(self, block: bytes) -> None:
        """Take the stream's next bytes; any number, none included."""
        self._buffer += block

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None if more bytes are needed.

        Raises:
            PeerProtocolError: The stream can't be read on from here; raised again by each later call.
        """
        if self._broken is not None:
            raise self._broken
        try:
            if self._header is None:
                self._header = self._take_header()
            return None if self._header is None else self._take_body(self._header)
        except PeerProtocolError as exc:
            self._broken = exc
            self._buffer.clear()
            raise

    def _take_header(self) -> _Header | None:
        end = self._buffer.find(_LF, self._searched, self._max_header_bytes + 1)
        if end < 0:
            if len(self._buffer) > self._max_header_bytes:
                raise PeerProtocolError(
                    f"The JSON line of an event is longer than {self._max_header_bytes} bytes.",
                    code="header-too-long",
                )
            self._searched = len(self._buffer)
            return None
        line = self._take(end)
        del self._buffer[:1]
        self._searched = 0
        try:
            members = parse_json_object(line)
        except ShapeError as exc:
            raise PeerProtocolError(
                f"An event starts with a line that is not a JSON object: {exc}.", code="bad-header"
            ) from exc
        return self._checked(members)

    def _checked(self, members: dict[str, object]) -> _Header:
        kind, inline = members.get("type"), members.get("data")
        if not isinstance(kind, str) or not kind:
            raise PeerProtocolError("An event's `type` is missing, or is not text.", code="bad-header")
        if inline is not None and not isinstance(inline, dict):
            raise PeerProtocolError("An event's `data` is not a JSON object.", code="bad-data")
        return _Header(
            type=kind,
            data=inline or {},
            data_length=_length(members, "data", self._max_data_bytes),
            payload_length=_length(members, "payload", self._max_payload_bytes),
        )

    def _take_body(self, header: _Header) -> Frame | None:
        if len(self._buffer) < header.data_length + header.payload_length:
            return None
        data = header.data
        if header.data_length:
            try:
                data = data | parse_json_object(self._take(header.data_length))
            except ShapeError as exc:
                raise PeerProtocolError(
                    f"The separate data of an event is not a JSON object: {exc}.", code="bad-data"
                ) from exc
        payload = self._take(header.payload_length)
        self._header = None
        return Frame(header.type, data, payload)

    def _take(self, size: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:size])
        del self._buffer[:size]
        return taken


def encode(frame: Frame) -> bytes:
    """A frame -> bytes, with its data separate from the header, as the `wyoming` package writes it."""
    header: dict[str, object] = {"type": frame.type, "version": version.__version__}
    data = to_json(frame.data).encode() if frame.data else b""
    if data:
        header["data_length"] = len(data)
    if frame.payload:
        header["payload_length"] = len(frame.payload)
    return b"".join((to_json(header).encode(), _LF, data, frame.payload))


def _length(members: dict[str, object], what: str, limit: int) -> int:
    length = members.get(f"{what}_length")
    if length is None:
        return 0
    # A bool is an int to Python, but not to JSON.
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise PeerProtocolError(
            f"An event's `{what}_length` is not a whole number of bytes.", code="bad-length"
        )
    if length > limit:
        raise PeerProtocolError(
            f"An event's {what} is longer than {limit} bytes. Send it in smaller pieces.",
            code=f"{what}-too-long",
        )
    return length
