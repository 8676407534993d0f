"""One session on asyncio: what a client sends waits here, and what it is told. Bounded on both sides."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from ears_edge.audio.converter import Converter
from ears_edge.audio.pcm import PcmFormat
from ears_edge.engine.inference import InferenceQueue
from ears_edge.engine.recognizer import Decoded, Work
from ears_edge.engine.session import Session
from ears_edge.errors import InferenceError
from ears_edge.events import Event

logger = logging.getLogger(__name__)

MAX_EVENTS: Final = 1024
"""Events that may wait to be fetched; then the stream's audio waits."""
MAX_BLOCK_S: Final = 1.0
MAX_BLOCK_BYTES: Final = 65_536
"""Longer blocks are cut, so that a small message of a low rate is not hours of audio at once. The bytes count
as well, since a header in the stream may name a lower rate than was declared."""
MAX_QUEUED_BYTES: Final = 8_388_608
"""Of a format with many bytes a second less than `engine.max_queued_s` may wait for a session."""
MAX_QUEUED_ITEMS: Final = 256
"""Blocks and flushes that may wait; small blocks are joined."""


@dataclass(slots=True)
class _Block:
    """PCM that waits."""

    pcm: bytearray
    fmt: PcmFormat


class _Command(Enum):
    FLUSH = auto()
    FINISH = auto()


class Stream:
    """One session as servers see it. Made by `Engine.open`; `close` it in the end."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[Session]],
        queue: InferenceQueue,
        pool: ThreadPoolExecutor,
        max_queued_s: float,
        release: Callable[["Stream"], None],
    ) -> None:
        """Begin.

        Args:
            begin: Gives the session; it waits while no model is loaded. Audio is queued meanwhile.
            queue: Decodes.
            pool: The signal processing thread.
            max_queued_s: Audio that may wait.
            release: Is told when the slot is free.
        """
        self._begin = begin
        self._session: Session | None = None
        self._queue = queue
        self._pool = pool
        self._max_queued_s = max_queued_s
        self._release = release
        self._converter = Converter()
        self._inbox: deque[_Block | _Command] = deque()
        self._queued_s = 0.0
        self._queued_bytes = 0
        self._outbox: deque[Event] = deque()
        self._finished = False
        self._decode: asyncio.Task[Decoded] | None = None
        self._wake, self._room, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def feed(self, pcm: bytes, fmt: PcmFormat) -> None:
        """Take one block of interleaved PCM, cut anywhere; wait while too much of it is queued.

        Audio after the session's end (its limit, or `close`) is dropped.

        Raises:
            EarsEdgeError: The stream has failed; nothing more will come of it.
            RuntimeError: `finish` was called.
        """
        if self._finished:
            raise RuntimeError("feed() after finish()")
        size = _block_bytes(fmt)
        for begin in range(0, len(pcm), size):
            if not await self._has_room():
                break
            self._post_block(pcm[begin : begin + size], fmt)
        if self._task.done():
            self._raise_failure()

    async def flush(self) -> None:
        """Make final all that was heard; the session goes on. Waits while too much is queued."""
        if not self._finished and await self._has_room():
            self._post(_Command.FLUSH)

    async def finish(self) -> None:
        """The audio is over; FinalText follows. Idempotent."""
        if not self._finished:
            self._finished = True
            self._post(_Command.FINISH)

    async def events(self) -> AsyncIterator[Event]:
        """Every event, in order, until FinalText or `close`. For one consumer.

        Raises:
            EarsEdgeError: The stream has failed.
        """
        while True:
            while self._outbox:
                event = self._outbox.popleft()
                self._wake.set()
                yield event
            if self._task.done():
                self._raise_failure()
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Drop what is left and free the slot at once. Idempotent."""
        self._release(self)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._session = session = await self._begin()
        try:
            while not session.ended:
                await self._wake.wait()
                self._wake.clear()
                decoded, item = self._decoded(), self._take(session)
                if decoded is None and item is None:
                    continue
                events, given_up, work = await loop.run_in_executor(
                    self._pool, self._step, session, item, decoded
                )
                self._outbox.extend(events)
                self._news.set()
                if given_up:
                    self._drop_decode()
                if work:
                    self._decode = asyncio.create_task(self._queue.decode(session.recognizer, work))
                    self._decode.add_done_callback(self._decode_done)
                if self._inbox:
                    self._wake.set()
        finally:
            if self._decode:
                self._decode.cancel()
                await asyncio.wait([self._decode])

    def _decoded(self) -> Decoded | None:
        if self._decode is None or not self._decode.done():
            return None
        decode, self._decode = self._decode, None
        return decode.result()

    def _decode_done(self, decode: "asyncio.Task[Decoded]") -> None:
        if not decode.cancelled():
            decode.exception()  # looked at here, as nobody else may: then asyncio would log it
        self._wake.set()

    def _drop_decode(self) -> None:
        if self._decode:
            self._decode.cancel()
            self._decode = None

    def _take(self, session: Session) -> _Block | _Command | None:
        """What comes next, if the session and the consumer of its events can take more."""
        if not self._inbox or not session.wants_audio or len(self._outbox) >= MAX_EVENTS:
            return None
        item = self._inbox.popleft()
        if isinstance(item, _Block):
            self._queued_bytes -= len(item.pcm)
            self._queued_s = self._queued_s - item.fmt.seconds(len(item.pcm)) if self._queued_bytes else 0.0
        self._room.set()
        return item

    def _step(
        self, session: Session, item: _Block | _Command | None, decoded: Decoded | None
    ) -> tuple[list[Event], bool, Work | None]:
        """Runs on the signal processing thread, one at a time for a session.

        Returns:
            What is to be told, whether the work that is out is void, and the next work.
        """
        if decoded is not None:
            session.complete(decoded)
        match item:
            case _Block(pcm, fmt):
                session.receive(self._converter.feed(bytes(pcm), fmt))
            case _Command.FLUSH:
                session.receive(self._converter.stall())
                session.flush()
            case _Command.FINISH:
                session.receive(self._converter.flush())
                session.finish()
        given_up = session.give_up_look()
        work = session.work()
        return session.events(), given_up, work

    async def _has_room(self) -> bool:
        """Wait until more may be queued; False if nothing will be heard any more."""
        while not self._task.done():
            if (
                self._queued_s < self._max_queued_s
                and self._queued_bytes < MAX_QUEUED_BYTES
                and len(self._inbox) < MAX_QUEUED_ITEMS
            ):
                return True
            self._room.clear()
            await self._room.wait()
        return False

    def _post_block(self, pcm: bytes, fmt: PcmFormat) -> None:
        self._queued_s += fmt.seconds(len(pcm))
        self._queued_bytes += len(pcm)
        last = self._inbox[-1] if self._inbox else None
        if isinstance(last, _Block) and last.fmt == fmt and len(last.pcm) + len(pcm) <= _block_bytes(fmt):
            last.pcm += pcm
        else:
            self._post(_Block(bytearray(pcm), fmt))

    def _post(self, item: _Block | _Command) -> None:
        self._inbox.append(item)
        self._wake.set()

    def _raise_failure(self) -> None:
        if not self._task.cancelled() and (failure := self._task.exception()):
            raise failure

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._release(self)
        if not task.cancelled() and isinstance(failure := task.exception(), InferenceError):
            logger.error("session failed: %s", failure)
        self._room.set()
        self._news.set()


def _block_bytes(fmt: PcmFormat) -> int:
    return min(fmt.block_bytes(MAX_BLOCK_S), MAX_BLOCK_BYTES // fmt.frame_bytes * fmt.frame_bytes)
