"""The thread that decodes, and what waits for it. Inference never runs on the event loop.

A decode uses all cores by itself, so more of them at once would only slow each other. Decodes that somebody
waits for come first.
"""

import asyncio
import contextlib
import heapq
import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ears_edge.engine.recognizer import Decoded, Recognizer, Urgency, Work

LIVE_SHARE: Final = 0.5
"""Live words may take this part of the decoding time; what somebody waits for comes first."""
_RANK: Final[dict[Urgency, int]] = {"final": 0, "window": 1, "live": 2}


class InferenceQueue:
    """The thread that decodes, and what waits for it: one piece of work a session, the most urgent first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
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

    async def decode(self, recognizer: Recognizer, work: Work) -> Decoded:
        """Decode one window by this model. If the caller is cancelled, work that has not begun is dropped.

        Raises:
            InferenceError: The model failed.
        """
        result: asyncio.Future[Decoded] = asyncio.get_running_loop().create_future()
        job = _Job(_RANK[work.urgency], next(self._order), recognizer, work, result)
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
            done = loop.run_in_executor(self._pool, job.recognizer.decode, job.work)
            done.add_done_callback(partial(_hand_over, job.result))
            await asyncio.wait([done])
            self._began = None
            if job.work.urgency == "live":
                ended = self._clock()
                self._live_from = ended + (ended - began) * (1 - LIVE_SHARE) / LIVE_SHARE
            del job, done  # else a model that was swapped would stay until the next decode

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
    recognizer: Recognizer = field(compare=False)
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
