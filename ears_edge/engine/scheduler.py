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
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
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
MAX_BLOCK_BYTES: Final = 65_536
"""Longer blocks are cut, so that a small message of a low rate is not hours of audio at once. The bytes count
as well, since a header in the stream may name a lower rate than was declared."""
MAX_QUEUED_BYTES: Final = 8_388_608
"""Of a format with many bytes a second less than `engine.max_queued_s` may wait for a session."""
MAX_QUEUED_ITEMS: Final = 256
"""Blocks and flushes that may wait; small blocks are joined."""
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
        self._began: float | None = None

    @property
    def decoding_s(self) -> float:
        """For how many seconds the decode that is running has been; 0 if none is."""
        return 0.0 if self._began is None else self._clock() - self._began

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
            self._began = began = self._clock()
            done = loop.run_in_executor(self._pool, self._recognizer.decode, job.work)
            done.add_done_callback(partial(_hand_over, job.result))
            await asyncio.wait([done])
            self._began = None
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
            while self._waiting and self._waiting[0].result.done():  # its session has gone
                heapq.heappop(self._waiting)
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
    """Done while the job still waits: its session has gone."""


def _hand_over(result: "asyncio.Future[Decoded]", done: "asyncio.Future[Decoded]") -> None:
    if done.cancelled():  # the engine ended before the thread had taken the job
        result.cancel()
        return
    exc = done.exception()
    if result.done():
        return
    if exc:
        result.set_exception(exc)
    else:
        result.set_result(done.result())


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
        self._inbox: deque[_Block | _Command] = deque()
        self._queued_s = 0.0
        self._queued_bytes = 0
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
        try:
            while not self._session.ended:
                await self._wake.wait()
                self._wake.clear()
                decoded, item = self._decoded(), self._take()
                if decoded is None and item is None:
                    continue
                events, given_up, work = await loop.run_in_executor(self._pool, self._step, item, decoded)
                self._outbox.extend(events)
                self._news.set()
                if given_up:
                    self._drop_decode()
                if work:
                    self._decode = asyncio.create_task(self._queue.decode(work))
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

    def _take(self) -> _Block | _Command | None:
        """What comes next, if the session and the consumer of its events can take more."""
        if not self._inbox or not self._session.wants_audio or len(self._outbox) >= MAX_EVENTS:
            return None
        item = self._inbox.popleft()
        if isinstance(item, _Block):
            self._queued_bytes -= len(item.pcm)
            self._queued_s = self._queued_s - item.fmt.seconds(len(item.pcm)) if self._queued_bytes else 0.0
        self._room.set()
        return item

    def _step(
        self, item: _Block | _Command | None, decoded: Decoded | None
    ) -> tuple[list[Event], bool, Work | None]:
        """Runs on the signal processing thread, one at a time for a session.

        Returns:
            What is to be told, whether the work that is out is void, and the next work.
        """
        if decoded is not None:
            self._session.complete(decoded)
        match item:
            case _Block(pcm, fmt):
                self._session.receive(self._converter.feed(bytes(pcm), fmt))
            case _Command.FLUSH:
                self._session.receive(self._converter.stall())
                self._session.flush()
            case _Command.FINISH:
                self._session.receive(self._converter.flush())
                self._session.finish()
        given_up = self._session.give_up_look()
        work = self._session.work()
        return self._session.events(), given_up, work

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
        self._closing = False

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

    @property
    def decoding_s(self) -> float:
        """For how many seconds the decode that is running has been; 0 if none is."""
        return self._queue.decoding_s

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._queue.run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._closing = True
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
            OverloadedError: All slots are in use, or the engine is about to end.
        """
        if self._closing:
            raise OverloadedError("the engine is about to end; try again later")
        if len(self._streams) >= self._config.max_sessions:
            raise OverloadedError(f"all {self._config.max_sessions} sessions are in use; try again later")
        session = Session(self._recognizer, self._config, options, self._detector)
        stream = Stream(session, self._queue, self._pool, self._config.max_queued_s, self._streams.discard)
        self._streams.add(stream)
        return stream
