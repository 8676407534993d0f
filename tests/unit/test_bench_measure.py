"""Times of a run, told by a clock that only the test turns."""

import asyncio
from dataclasses import dataclass, field

import pytest

from ears_edge.audio.pcm import PcmFormat
from ears_edge.bench.clips import Clip
from ears_edge.bench.figures import Plan
from ears_edge.bench.measure import Answer, Clock, Ear, measure, time_run
from ears_edge.clients.exchange import Pace
from ears_edge.errors import OverloadedError
from ears_edge.units import samples

FORMAT = PcmFormat(1000, 2, 1)
CLIP = Clip(name="a", pcm=bytes(2 * 450), fmt=FORMAT)
"""0.45 s: four blocks of 0.1 s and one of 0.05 s."""


@dataclass
class Time:
    """A clock that stands still unless it is told to go on."""

    now: float = 100.0

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        await asyncio.sleep(0)

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep)


@dataclass
class FakeTarget:
    """Takes `block_s` for each block and `final_s` at the end; says a word after the second block."""

    time: Time
    block_s: float = 0.0
    final_s: float = 0.0
    busy: bool = False
    takes_s: float = 1_000.0
    blocks: list[tuple[float, int]] = field(default_factory=list)
    """When each block came, and its size."""

    async def hear(self, clip: Clip, pace: Pace, ear: Ear) -> Answer:
        if self.busy:
            raise OverloadedError("no slot")
        taken_s = 0.0
        for number, block in enumerate(clip.blocks(0.1)):
            taken_s += clip.fmt.seconds(len(block))
            if taken_s > self.takes_s:
                break
            await pace(taken_s)
            self.blocks.append((self.time.now, len(block)))
            self.time.now += self.block_s
            ear.sent(taken_s)
            if number == 1:
                ear.said(1)
        self.time.now += self.final_s
        return Answer("one two", (samples(0.1), samples(0.4)))


async def test_fast_the_audio_ends_when_its_last_block_was_taken() -> None:
    time = Time()
    target = FakeTarget(time, block_s=0.01, final_s=0.2)
    run = await time_run(target, CLIP, live=False, clock=time.clock())
    assert [size for _, size in target.blocks] == [200, 200, 200, 200, 100]
    assert run.audio_s == pytest.approx(0.45)
    assert run.wall_s == pytest.approx(0.25)
    assert run.latency_s == pytest.approx(0.2)
    assert (run.name, run.text, run.error) == ("a", "one two", "")


async def test_live_a_block_comes_when_it_has_been_spoken() -> None:
    time = Time()
    target = FakeTarget(time, final_s=0.2)
    run = await time_run(target, CLIP, live=True, clock=time.clock())
    assert [at for at, _ in target.blocks] == pytest.approx([100.1, 100.2, 100.3, 100.4, 100.45])
    assert run.latency_s == pytest.approx(0.2)
    assert run.wall_s == pytest.approx(0.65)


async def test_live_a_word_is_late_by_the_time_since_its_end() -> None:
    time = Time()
    run = await time_run(FakeTarget(time), CLIP, live=True, clock=time.clock())
    assert run.first_word_s == pytest.approx(0.2)
    assert run.word_lags_s == pytest.approx((0.1,))


async def test_live_a_target_that_takes_audio_late_is_not_excused() -> None:
    time = Time()
    run = await time_run(FakeTarget(time, block_s=0.3), CLIP, live=True, clock=time.clock())
    assert run.latency_s == pytest.approx(0.1 + 5 * 0.3 - 0.45)


async def test_a_failure_is_a_run_with_a_code() -> None:
    time = Time()
    run = await time_run(FakeTarget(time, busy=True), CLIP, live=False, clock=time.clock())
    assert (run.error, run.text) == ("busy", "")


async def test_a_session_that_was_ended_early_is_a_failure() -> None:
    time = Time()
    run = await time_run(FakeTarget(time, takes_s=0.25), CLIP, live=False, clock=time.clock())
    assert run.error == "limit-reached"


async def test_a_first_run_warms_up_and_shows_that_the_target_works() -> None:
    time = Time()
    with pytest.raises(OverloadedError):
        await measure(FakeTarget(time, busy=True), [CLIP], Plan(), clock=time.clock(), done=lambda _: None)


async def test_every_session_hears_every_clip_as_often_as_asked() -> None:
    time = Time()
    clips = [Clip(name=name, pcm=bytes(200), fmt=FORMAT) for name in "abc"]
    ended: list[int] = []
    target = FakeTarget(time, final_s=0.5)
    runs, wall_s = await measure(
        target, clips, Plan(sessions=4, repeat=2), clock=time.clock(), done=ended.append
    )
    assert sorted(run.name for run in runs) == sorted("abc" * 8)
    assert ended == list(range(1, 25))
    assert wall_s == pytest.approx(24 * 0.5)


async def test_sessions_do_not_begin_with_the_same_clip() -> None:
    time = Time()
    clips = [Clip(name=name, pcm=bytes(200), fmt=FORMAT) for name in "abcd"]

    class Slow(FakeTarget):
        async def hear(self, clip: Clip, pace: Pace, ear: Ear) -> Answer:
            await asyncio.sleep(0)  # all sessions begin before one goes on
            return await super().hear(clip, pace, ear)

    runs, _ = await measure(Slow(time), clips, Plan(sessions=4), clock=time.clock(), done=lambda _: None)
    assert sorted(run.name for run in runs[:4]) == ["a", "b", "c", "d"]
