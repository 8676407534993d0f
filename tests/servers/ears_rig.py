"""A fake engine that says what the audio holds, and an eaRS server on loopback in front of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ears_edge.audio.pcm import PcmFormat
from ears_edge.config import EarsConfig
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import EarsEdgeError, OverloadedError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word
from ears_edge.models.folder import ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.servers.ears import EarsServer
from ears_edge.units import Samples

WORD_SAMPLES = 2_400
"""0.1 s at 24 kHz: what one word lasts."""
PATIENCE_S = 30.0
NOW = 1_700_000_000.25

Message = dict[str, Any]  # what a server says, as JSON gives it


class FakeStream:
    """Every 0.1 s of a constant level n/100 is the word `n`, 0 is a pause. The last word is held back."""

    def __init__(self, engine: "FakeEngine", options: SessionOptions) -> None:
        self.options = options
        self.heard = np.zeros(0, np.float32)
        self.flushed = asyncio.Event()
        self.finished = False
        self.closed = asyncio.Event()
        self._engine = engine
        self._rest = np.zeros(0, np.float32)
        self._words: list[Word] = []
        self._told = 0
        self._closed_words = 0
        self._events: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=4)

    async def feed(self, pcm: bytes, fmt: PcmFormat) -> None:
        assert fmt == PcmFormat(24_000, 4, 1, "float")
        await self._engine.gate.wait()
        if self._engine.failure is not None:
            await self._events.put(None)
            raise self._engine.failure
        samples = np.frombuffer(pcm, "<f4")
        self.heard = np.append(self.heard, samples)
        self._rest = np.append(self._rest, samples)
        while len(self._rest) >= WORD_SAMPLES:
            level = round(float(self._rest[0]) * 100)
            self._rest = self._rest[WORD_SAMPLES:]
            start = 1600 * (len(self.heard) - len(self._rest) - WORD_SAMPLES) // WORD_SAMPLES
            if level:
                text = f"{level}" + self._engine.word_tail
                self._words.append(Word(text, Samples(start), Samples(start + 1600), 0.875))
                if len(self._words) == 1:
                    await self._events.put(Language("en", 1.0))
                await self._tell(len(self._words) - 1)
            else:
                await self._settle()
                await self._events.put(Pause(Samples(start)))

    async def flush(self) -> None:
        await self._settle()
        self.flushed.set()

    async def finish(self) -> None:
        if not self.finished:
            self.finished = True
            await self._engine.last_decode.wait()
            if self._engine.failure is not None:
                await self._events.put(None)
                return
            await self._settle()
            await self.end()

    async def end(self) -> None:
        await self._events.put(FinalText(tuple(self._words), Samples(len(self.heard) * 2 // 3), "en"))
        await self._events.put(None)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._events.get()) is not None:
            yield event
        if self._engine.failure is not None:
            raise self._engine.failure

    async def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self._engine.sessions -= 1
            self._engine.freed.set()

    async def _tell(self, upto: int) -> None:
        if upto > self._told:
            new, self._told = self._words[self._told : upto], upto
            await self._events.put(FinalWords(tuple(new)))

    async def _settle(self) -> None:
        await self._tell(len(self._words))
        if len(self._words) > self._closed_words:
            words, self._closed_words = self._words[self._closed_words :], len(self._words)
            await self._events.put(Segment(tuple(words)))


class FakeEngine:
    """Slots, and switches for what may go wrong."""

    def __init__(self, *, slots: int = 8, languages: tuple[str, ...] = ("en",)) -> None:
        self.slots = slots
        self.sessions = 0
        self.streams: list[FakeStream] = []
        self.model = ModelInfo(name="fake", languages=languages)
        self.status = ModelStatus(wanted="fake", serving="fake")
        self.failure: EarsEdgeError | None = None
        self.word_tail = ""
        self.gate = asyncio.Event()
        """Audio is taken."""
        self.last_decode = asyncio.Event()
        """The end of a session is decoded."""
        self.freed = asyncio.Event()
        """A slot was given back since this was cleared."""
        self.gate.set()
        self.last_decode.set()

    def open(self, options: SessionOptions) -> FakeStream:
        if self.sessions >= self.slots:
            raise OverloadedError("all sessions are taken")
        self.sessions += 1
        self.streams.append(FakeStream(self, options))
        return self.streams[-1]


class Rig:
    """A running server, its engine, and how to get at both."""

    def __init__(self, server: EarsServer, engine: FakeEngine) -> None:
        self.server = server
        self.engine = engine
        self.port = server.addresses[0][1]
        self.url = f"ws://127.0.0.1:{self.port}/"

    def connect(self, **options: Any) -> connect:  # noqa: ANN401  # handed on to websockets as they are
        return connect_to(self.url, **options)

    async def all_freed(self) -> None:
        """Wait until no slot is taken, no stream is listed and no connection is left."""
        async with asyncio.timeout(PATIENCE_S):
            while self.engine.sessions or self.server._handlers or self.server._live:  # noqa: ASYNC110  # silent
                await asyncio.sleep(0)

    async def works(self) -> None:
        """A fresh client is served."""
        async with self.connect() as client:
            await client.send(speech(5))
            await client.send("stop")
            assert texts(await everything(client)) == ["5"]


@asynccontextmanager
async def rig(
    engine: FakeEngine | None = None,
    **settings: Any,  # noqa: ANN401  # fields of EarsConfig
) -> AsyncIterator[Rig]:
    engine = engine or FakeEngine()
    config = replace(EarsConfig(host="127.0.0.1", port=0), **settings)
    async with EarsServer(config, engine, unix_time=lambda: NOW) as server:
        yield Rig(server, engine)


def connect_to(url: str, **options: Any) -> connect:  # noqa: ANN401  # as above
    return connect(url, **({"compression": None, "open_timeout": PATIENCE_S} | options))


def speech(*words: int) -> bytes:
    """Audio that the fake engine hears as these numbers; 0 is silence."""
    return np.repeat(np.array(words, "<f4") / 100, WORD_SAMPLES).tobytes()


def command(kind: str, **members: object) -> str:
    return json.dumps({"type": kind} | members)


async def receive(client: ClientConnection) -> Message:
    async with asyncio.timeout(PATIENCE_S):
        message: Message = json.loads(await client.recv())
    return message


async def ask(client: ClientConnection, text: str | bytes) -> Message:
    await client.send(text)
    return await receive(client)


async def everything(client: ClientConnection) -> list[Message]:
    """All messages up to the Close, whatever its code."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(await receive(client))
    return messages


async def until(client: ClientConnection, kind: str) -> list[Message]:
    """All messages up to the first of this type."""
    messages = [await receive(client)]
    while messages[-1]["type"] != kind:
        messages.append(await receive(client))
    return messages


def kinds(messages: list[Message]) -> list[str]:
    return [message["type"] for message in messages]


def texts(messages: list[Message]) -> list[str]:
    """The live words."""
    return [message["word"] for message in messages if message["type"] == "word"]
