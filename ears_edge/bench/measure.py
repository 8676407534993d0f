"""Time runs: one clip given to an engine or a server, and N sessions of them at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from ears_edge.audio.pcm import PcmFormat
from ears_edge.bench.clips import Clip
from ears_edge.bench.figures import Run
from ears_edge.errors import EarsEdgeError
from ears_edge.events import Event, FinalText, FinalWords
from ears_edge.units import SAMPLE_RATE

BLOCK_S: Final = 0.1
"""Audio given at once; clients send between 10 and 100 ms."""

LIMIT_REACHED: Final = "limit-reached"
"""Code of a run that was ended before it had heard all of the clip."""

Heard = Callable[[Event], None]


class Target(Protocol):
    """What is measured."""

    async def hear(self, blocks: AsyncIterator[bytes], fmt: PcmFormat, *, live: bool, heard: Heard) -> None:
        """Transcribe one stream: take all `blocks`, call `heard` for each event as it arrives.

        Returns after FinalText was heard. `live` asks for words while the audio comes.

        Raises:
            EarsEdgeError: The stream failed.
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

    clip: Clip
    live: bool
    clock: Clock
    start: float = field(init=False)
    audio_end: float | None = None
    final: float | None = None
    text: str = ""
    first_word: float | None = None
    lags: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.clock.now()

    async def blocks(self) -> AsyncIterator[bytes]:
        """The clip's audio; live, a block comes when its last sample has been spoken."""
        size = self.clip.fmt.block_bytes(BLOCK_S)
        for begin in range(0, len(self.clip.pcm), size):
            block = self.clip.pcm[begin : begin + size]
            if self.live:
                await self.clock.sleep(max(0.0, self._spoken(begin + len(block)) - self.clock.now()))
            yield block
        # Live, the audio ends when the speaker does: a target that takes it late is not excused.
        self.audio_end = self._spoken(len(self.clip.pcm)) if self.live else self.clock.now()

    def heard(self, event: Event) -> None:
        """Take the time of an event."""
        now = self.clock.now()
        match event:
            case FinalWords(words) if words:
                if self.first_word is None:
                    self.first_word = now
                self.lags += [now - self.start - word.end / SAMPLE_RATE for word in words]
            case FinalText():
                self.final, self.text = now, event.text

    def run(self) -> Run:
        """What was noted, once the final text has come."""
        if self.final is None:
            raise RuntimeError("the target returned without a final text")
        if self.audio_end is None:
            return self.failed(LIMIT_REACHED)
        return Run(
            name=self.clip.name,
            audio_s=self.clip.seconds,
            wall_s=self.final - self.start,
            latency_s=self.final - self.audio_end,
            first_word_s=None if self.first_word is None else self.first_word - self.start,
            word_lags_s=tuple(self.lags),
            text=self.text,
        )

    def failed(self, code: str) -> Run:
        """A run that came to nothing."""
        return Run(name=self.clip.name, audio_s=self.clip.seconds, wall_s=0.0, latency_s=0.0, error=code)

    def _spoken(self, size: int) -> float:
        """When the speaker is done with this many bytes."""
        return self.start + size / self.clip.fmt.frame_bytes / self.clip.fmt.rate


async def time_run(target: Target, clip: Clip, *, live: bool, clock: Clock) -> Run:
    """Give one clip to the target and time it. A failure is a run with an error code."""
    watch = _Watch(clip, live, clock)
    try:
        await target.hear(watch.blocks(), clip.fmt, live=live, heard=watch.heard)
    except EarsEdgeError as exc:
        return watch.failed(exc.code)
    return watch.run()


async def measure(
    target: Target,
    clips: Sequence[Clip],
    *,
    sessions: int,
    repeat: int,
    live: bool,
    clock: Clock,
    done: Callable[[int], None],
) -> tuple[list[Run], float]:
    """N sessions at once, each hears all clips back to back, `repeat` times.

    Each session begins at another clip, so that they don't march in step.

    Args:
        target: What is measured.
        clips: At least one.
        sessions: At once.
        repeat: How often a session hears each clip.
        live: At the pace of speech.
        clock: Where the time comes from.
        done: Told how many runs have ended.

    Returns:
        The runs, `sessions` x `repeat` of each clip, and the seconds that all of it took.
    """
    runs: list[Run] = []

    async def session(number: int) -> None:
        turn = number * len(clips) // sessions
        for clip in (*clips[turn:], *clips[:turn]) * repeat:
            runs.append(await time_run(target, clip, live=live, clock=clock))
            done(len(runs))

    start = clock.now()
    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(session(number))
    return runs, clock.now() - start
