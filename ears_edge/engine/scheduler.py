"""Sessions on asyncio: admission, queues and the two threads. Inference never runs on the event loop.

One thread does the sessions' signal processing, one the decodes; a decode uses all cores by itself, so
more of them at once would only slow each other. Decodes that somebody waits for come first.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Self

from ears_edge.audio.converter import Converter
from ears_edge.audio.pcm import PcmFormat
from ears_edge.config import EngineConfig
from ears_edge.dsp.vad import SpeechDetector, new_detector
from ears_edge.engine.recognizer import Decoded, Recognizer, Urgency, Work
from ears_edge.engine.session import Session, SessionOptions
from ears_edge.errors import InferenceError, OverloadedError
from ears_edge.events import Event
from ears_edge.models.folder import ModelInfo

logger = logging.getLogger(__name__)

MAX_EVENTS: Final = 1024
"""Events that may wait to be fetched; then the stream's audio waits."""
MAX_BLOCK_S: Final = 1.0
"""Longer blocks are cut, so that a small message of a low rate is not hours of audio at once."""
LIVE_SHARE: Final = 0.5
"""Live words may take this part of the decoding time; what somebody waits for comes first."""
_RANK: Final[dict[Urgency, int]] = {"final": 0, "window": 1, "live": 2}


class InferenceQueue:
    """The thread that decodes, and what waits for it: one piece of work a session, the most urgent first."""

    def __init__(self, recognizer: Recognizer, clock: Callable[[], float] = time.monotonic) -> None:
        self._recognizer = recognizer
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._waiting: list[_Job] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._live_from = -math.inf

    async def decode(self, work: Work) -> Decoded:
        """Decode one window. If the caller is cancelled, work that has not begun is dropped.

        Raises:
            InferenceError: The model failed.
        """
        job = _Job(_RANK[work.urgency], next(self._order), work, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, job)
        self._changed.set()
        try:
            return await job.result
        finally:
            if job in self._waiting:
                self._waiting.remove(job)
                heapq.heapify(self._waiting)

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            job = await self._next()
            began = self._clock()
            done = loop.run_in_executor(self._pool, self._recognizer.decode, job.work)
            await asyncio.wait([done])
            _hand_over(done, job.result)
            if job.work.urgency == "live":
                ended = self._clock()
                self._live_from = ended + (ended - began) * (1 - LIVE_SHARE) / LIVE_SHARE

    async def close(self) -> None:
        """Join the thread; a running decode is waited for."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _next(self) -> "_Job":
        while True:
            self._changed.clear()
            wait = None
            if self._waiting:
                wait = self._live_from - self._clock() if self._waiting[0].work.urgency == "live" else 0.0
                if wait <= 0:
                    return heapq.heappop(self._waiting)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()


@dataclass(frozen=True, slots=True, order=True)
class _Job:
    rank: int
    order: int
    work: Work = field(compare=False)
    result: "asyncio.Future[Decoded]" = field(compare=False)


def _hand_over(done: "asyncio.Future[Decoded]", result: "asyncio.Future[Decoded]") -> None:
    exc = done.exception()
    if result.done():  # its session has gone
        return
    if exc:
        result.set_exception(exc)
    else:
        result.set_result(done.result())


class Stream:
    """One session as servers see it. Made by `Engine.open`; `close` it in the end."""

    def __init__(
        self,
        session: Session,
        queue: InferenceQueue,
        pool: ThreadPoolExecutor,
        max_queued_s: float,
        release: Callable[["Stream"], None],
    ) -> None:
        self._session = session
        self._queue = queue
        self._pool = pool
        self._max_queued_s = max_queued_s
        self._release = release
        self._converter = Converter()
        self._inbox: deque[tuple[bytes, PcmFormat] | _Command] = deque()
        self._queued_s = 0.0
        self._outbox: deque[Event] = deque()
        self._finished = False
        self._decode: asyncio.Task[Decoded] | None = None
        self._wake, self._room, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    @property
    def samples(self) -> int:
        """Samples at 16 kHz that were heard so far."""
        return self._session.samples

    async def feed(self, pcm: bytes, fmt: PcmFormat) -> None:
        """Take one block of interleaved PCM, cut anywhere; wait while too much of it is queued.

        Audio after the session's end (its limit, or `close`) is dropped.

        Raises:
            EarsEdgeError: The stream has failed; nothing more will come of it.
            RuntimeError: `finish` was called.
        """
        if self._finished:
            raise RuntimeError("feed() after finish()")
        size = fmt.block_bytes(MAX_BLOCK_S)
        for begin in range(0, len(pcm), size):
            while self._queued_s >= self._max_queued_s and not self._task.done():
                self._room.clear()
                await self._room.wait()
            if self._task.done():
                break
            block = pcm[begin : begin + size]
            self._queued_s += fmt.seconds(len(block))
            self._post((block, fmt))
        if self._task.done():
            self._raise_failure()

    async def flush(self) -> None:
        """Make final all that was heard; the session goes on."""
        if not self._finished:
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
        try:
            while not self._session.ended:
                await self._wake.wait()
                self._wake.clear()
                decoded = self._decoded()
                items = self._take_items()
                if decoded is None and not items:
                    continue
                events, work = await loop.run_in_executor(self._pool, self._step, items, decoded)
                self._outbox.extend(events)
                self._news.set()
                if work:
                    self._decode = asyncio.create_task(self._queue.decode(work))
                    self._decode.add_done_callback(lambda _: self._wake.set())
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

    def _take_items(self) -> "list[tuple[bytes, PcmFormat] | _Command]":
        if not self._session.wants_audio or len(self._outbox) >= MAX_EVENTS:
            return []
        items, self._queued_s = [*self._inbox], 0.0
        self._inbox.clear()
        self._room.set()
        return items

    def _step(
        self, items: "Sequence[tuple[bytes, PcmFormat] | _Command]", decoded: Decoded | None
    ) -> tuple[list[Event], Work | None]:
        """Runs on the signal processing thread, one at a time for a session."""
        if decoded is not None:
            self._session.complete(decoded)
        for item in items:
            match item:
                case _Command.FLUSH:
                    self._session.receive(self._converter.flush())
                    self._converter = Converter()
                    self._session.flush()
                case _Command.FINISH:
                    self._session.receive(self._converter.flush())
                    self._session.finish()
                case pcm, fmt:
                    self._session.receive(self._converter.feed(pcm, fmt))
        work = self._session.work()
        return self._session.events(), work

    def _post(self, item: "tuple[bytes, PcmFormat] | _Command") -> None:
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


class _Command(Enum):
    FLUSH = auto()
    FINISH = auto()


class Engine:
    """The shared recognizer, and the streams that it serves. Use as an asynchronous context manager."""

    def __init__(
        self,
        recognizer: Recognizer,
        config: EngineConfig,
        *,
        detector: Callable[[], SpeechDetector] = new_detector,
    ) -> None:
        self._recognizer = recognizer
        self._config = config
        self._detector = detector
        self._queue = InferenceQueue(recognizer)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="signal")
        self._streams: set[Stream] = set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def model(self) -> ModelInfo:
        """The model that serves."""
        return self._recognizer.info

    @property
    def sessions(self) -> int:
        """Slots in use."""
        return len(self._streams)

    @property
    def running(self) -> bool:
        """Whether decodes are being served."""
        return self._runner is not None and not self._runner.done()

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._queue.run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for stream in [*self._streams]:
            await stream.close()
        if self._runner:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        await self._queue.close()
        await asyncio.to_thread(self._pool.shutdown)

    def open(self, options: SessionOptions) -> Stream:
        """Take a slot and begin a session.

        Raises:
            OverloadedError: All slots are in use.
        """
        if len(self._streams) >= self._config.max_sessions:
            raise OverloadedError(f"all {self._config.max_sessions} sessions are in use; try again later")
        session = Session(self._recognizer, self._config, options, self._detector)
        stream = Stream(session, self._queue, self._pool, self._config.max_queued_s, self._streams.discard)
        self._streams.add(stream)
        return stream
