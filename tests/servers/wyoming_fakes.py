"""An engine that can be held, filled and broken at will, and a client that speaks raw bytes or events."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event as Message
from wyoming.event import Eventable, async_read_event, write_event

from ears_edge.audio.pcm import PcmFormat
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import EarsEdgeError, OverloadedError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word
from ears_edge.models.folder import Attribution, ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.units import Samples

MODEL = ModelInfo(
    name="fake-model",
    version="7",
    description="Counts bytes",
    languages=("en", "de"),
    licence="MIT",
    attribution=Attribution(name="Someone", url="https://example.org"),
)


class FakeStream:
    """Its transcript tells how many bytes it has heard; live, each block is a word."""

    def __init__(self, engine: "FakeEngine", options: SessionOptions) -> None:
        self.options = options
        self.heard: list[tuple[bytes, PcmFormat]] = []
        self.closed = asyncio.Event()
        self.events_asked = 0
        self._engine = engine
        self._events: asyncio.Queue[Event | EarsEdgeError | None] = asyncio.Queue()
        self._words: list[Word] = []
        self._finished = False

    @property
    def pcm(self) -> bytes:
        return b"".join(block for block, _ in self.heard)

    async def feed(self, pcm: bytes, fmt: PcmFormat) -> None:
        self._engine.feeding.set()
        await self._engine.room.wait()
        if self._engine.feed_error is not None:
            raise self._engine.feed_error
        self.heard.append((pcm, fmt))
        if self.options.live_words:
            self._say(f"block{len(self.heard)}")
        if self._engine.limit_blocks == len(self.heard):
            self._conclude(limit_reached=True)

    async def flush(self) -> None:
        raise AssertionError("Wyoming has no stalls")

    async def finish(self) -> None:
        if not self._finished:
            self._conclude(limit_reached=False)

    async def events(self) -> AsyncIterator[Event]:
        self.events_asked += 1
        while (event := await self._events.get()) is not None:
            if isinstance(event, EarsEdgeError):
                raise event
            if isinstance(event, FinalText):
                self._engine.decoding.set()
                await self._engine.decoded.wait()
            yield event

    async def close(self) -> None:
        if not self.closed.is_set():
            self._engine.open_streams.remove(self)
            self.closed.set()
            self._events.put_nowait(None)

    def _say(self, text: str) -> None:
        word = Word(text, Samples(0), Samples(160), 1.0)
        self._words.append(word)
        self._events.put_nowait(FinalWords((word,)))

    def _conclude(self, *, limit_reached: bool) -> None:
        self._finished = True
        if self._engine.decode_error is not None:
            self._events.put_nowait(self._engine.decode_error)
            return
        if self._engine.crash is not None:
            # A fault that is no EarsEdgeError: what a bug of ours looks like from outside.
            self._events.put_nowait(Segment(()))
            raise self._engine.crash
        language = self.options.language or "en"
        self._events.put_nowait(Language(language, 1.0))
        for text in ("heard", str(len(self.pcm)), "bytes"):
            self._say(text)
        self._events.put_nowait(Segment(tuple(self._words)))
        self._events.put_nowait(Pause(Samples(160)))
        self._events.put_nowait(
            FinalText(tuple(self._words), Samples(len(self.pcm) // 2), language, limit_reached)
        )
        self._events.put_nowait(None)


class FakeEngine:
    """Matches what the server needs of the engine."""

    def __init__(self, *, max_sessions: int = 8, model: ModelInfo = MODEL) -> None:
        self.model = model
        self.status = ModelStatus(wanted=model.name, serving=model.name)
        self.max_sessions = max_sessions
        self.streams: list[FakeStream] = []
        self.open_streams: list[FakeStream] = []
        self.room = asyncio.Event()
        """Cleared: `feed()` waits, as when the engine has enough."""
        self.room.set()
        self.feeding = asyncio.Event()
        self.decoded = asyncio.Event()
        """Cleared: final texts wait, as in a decode that takes long."""
        self.decoded.set()
        self.decoding = asyncio.Event()
        self.feed_error: EarsEdgeError | None = None
        self.decode_error: EarsEdgeError | None = None
        self.crash: Exception | None = None
        self.limit_blocks: int | None = None

    def open(self, options: SessionOptions) -> FakeStream:
        if len(self.open_streams) >= self.max_sessions:
            raise OverloadedError("All slots are in use. Try again in a while.")
        stream = FakeStream(self, options)
        self.streams.append(stream)
        self.open_streams.append(stream)
        return stream


class Client:
    """A connection that sends any bytes and reads with the `wyoming` package's own reader."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, uri: str) -> Self:
        scheme, _, rest = uri.partition("://")
        if scheme == "unix":
            return cls(*await asyncio.open_unix_connection(rest))
        host, _, port = rest.rpartition(":")
        return cls(*await asyncio.open_connection(host.strip("[]"), int(port)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.writer.transport.is_closing():
            self.writer.transport.abort()

    def read_nothing(self) -> None:
        """Leave all that comes where it is."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()

    async def send(self, *messages: bytes | Eventable) -> None:
        for message in messages:
            self.writer.write(message if isinstance(message, bytes) else encoded(message))
        await self.writer.drain()

    async def read(self) -> Message | None:
        return await async_read_event(self.reader)

    async def until(self, kind: str) -> list[Message]:
        """Events up to the first of that type, with it."""
        messages: list[Message] = []
        while not messages or messages[-1].type != kind:
            message = await self.read()
            assert message is not None, f"the connection has ended before {kind}, after {messages}"
            messages.append(message)
        return messages

    async def rest(self) -> list[Message]:
        """Events up to the end of the stream."""
        messages: list[Message] = []
        while (message := await self.read()) is not None:
            messages.append(message)
        assert self.reader.at_eof()
        return messages


def encoded(message: Eventable) -> bytes:
    """As the `wyoming` package writes it."""
    out = io.BytesIO()
    write_event(message.event(), out)
    return out.getvalue()


def inline(kind: str, data: Mapping[str, object] | None = None, payload: bytes = b"") -> bytes:
    """The other form: the data in the header."""
    header: dict[str, object] = {"type": kind}
    if data is not None:
        header["data"] = data
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload


START = encoded(AudioStart(rate=16_000, width=2, channels=1))
STOP = encoded(AudioStop())


def chunk(size: int = 320, *, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    return encoded(AudioChunk(rate=rate, width=width, channels=channels, audio=bytes(size)))


def audio(pcm: bytes, step: int = 320) -> bytes:
    """16-bit mono at 16 kHz, as chunks of `step` bytes."""
    pieces = [pcm[start : start + step] for start in range(0, len(pcm), step)]
    return b"".join(encoded(AudioChunk(16_000, 2, 1, piece)) for piece in pieces)


def utterance(size: int = 640, *, language: str | None = None, step: int = 320) -> bytes:
    """One whole utterance of `size` bytes."""
    return encoded(Transcribe(language=language)) + START + audio(bytes(size), step) + STOP
