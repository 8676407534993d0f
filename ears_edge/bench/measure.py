"""Time runs: one clip given to an engine or a server, and N sessions of them at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from ears_edge.bench.clips import Clip
from ears_edge.bench.figures import Plan, Run
from ears_edge.clients.exchange import Pace, fast
from ears_edge.errors import EarsEdgeError
from ears_edge.units import SAMPLE_RATE, Samples

LIMIT_REACHED: Final = "limit-reached"
"""Code of a run that was ended before it had heard all of the clip."""
_ALL_S: Final = 0.01
"""Audio that may be missing at a clip's end: a format is changed in whole samples."""


class Answer(NamedTuple):
    """What a target heard in a clip."""

    text: str
    ends: Sequence[Samples] | None
    """Where each word ends, from the start of the clip; None if the target does not tell."""


class Ear(Protocol):
    """Told by a target what happens, at the moment it does."""

    def sent(self, seconds: float) -> None:
        """So much of the clip has been taken by now."""
        ...

    def said(self, words: int) -> None:
        """So many more words have come, and will not be revised."""
        ...


class Target(Protocol):
    """What is measured."""

    async def hear(self, clip: Clip, pace: Pace, ear: Ear) -> Answer:
        """Transcribe one clip; ask `pace` before each block of it is given.

        Raises:
            EarsEdgeError: It failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time comes from."""

    now: Callable[[], float] = time.perf_counter
    """Seconds."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class _Watch:
    """Notes when things happen in one run."""

    clock: Clock
    start: float = field(init=False)
    audio_end: float = field(init=False)
    sent_s: float = 0.0
    words: list[float] = field(default_factory=list)
    """When each word came."""

    def __post_init__(self) -> None:
        self.start = self.audio_end = self.clock.now()

    def sent(self, seconds: float) -> None:
        """See `Ear`."""
        self.sent_s, self.audio_end = seconds, self.clock.now()

    def said(self, words: int) -> None:
        """See `Ear`."""
        self.words += [self.clock.now()] * words

    async def live(self, until_s: float) -> None:
        """A `Pace`: a block comes when its last sample has been spoken."""
        await self.clock.sleep(max(0.0, self.start + until_s - self.clock.now()))


async def time_run(target: Target, clip: Clip, *, live: bool, clock: Clock) -> Run:
    """Give one clip to the target and time it. A failure is a run with an error code."""
    watch = _Watch(clock)
    try:
        answer = await target.hear(clip, watch.live if live else fast, watch)
    except EarsEdgeError as exc:
        return _failed(clip, exc.code)
    final = clock.now()
    if watch.sent_s + _ALL_S < clip.seconds:
        return _failed(clip, LIMIT_REACHED)
    # Live, the audio ends when the speaker does: a target that takes it late is not excused.
    audio_end = watch.start + clip.seconds if live else watch.audio_end
    return Run(
        name=clip.name,
        audio_s=clip.seconds,
        wall_s=final - watch.start,
        latency_s=final - audio_end,
        first_word_s=watch.words[0] - watch.start if watch.words else None,
        word_lags_s=tuple(
            at - watch.start - end / SAMPLE_RATE
            for at, end in zip(
                watch.words, answer.ends or (), strict=False
            )  # some may come with the final text
        ),
        text=answer.text,
    )


def _failed(clip: Clip, code: str) -> Run:
    return Run(name=clip.name, audio_s=clip.seconds, wall_s=0.0, latency_s=0.0, error=code)


async def measure(
    target: Target, clips: Sequence[Clip], plan: Plan, *, clock: Clock, done: Callable[[int], None]
) -> tuple[list[Run], float]:
    """N sessions at once, each hears all clips back to back, as often as planned.

    Each session begins at another clip, so that they don't march in step. One run before, as fast as it goes,
    warms up and is not counted.

    Args:
        target: What is measured.
        clips: At least one.
        plan: How.
        clock: Where the time comes from.
        done: Told how many runs have ended.

    Returns:
        The runs, `sessions` x `repeat` of each clip, and the seconds that all of it took.

    Raises:
        EarsEdgeError: The first run failed: nothing works there. Later failures are runs with a code.
    """
    await target.hear(clips[0], fast, _Watch(clock))
    runs: list[Run] = []

    async def session(number: int) -> None:
        turn = number * len(clips) // plan.sessions
        for clip in (*clips[turn:], *clips[:turn]) * plan.repeat:
            runs.append(await time_run(target, clip, live=plan.live, clock=clock))
            done(len(runs))

    start = clock.now()
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.sessions):
            tasks.create_task(session(number))
    return runs, clock.now() - start
