"""Bringing the wanted model, with fakes that the test holds up: nobody who speaks loses a word by it."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import pytest

from ears_edge.audio.pcm import PcmFormat
from ears_edge.config import Config, EngineConfig, ModelConfig
from ears_edge.engine.loading import Survey
from ears_edge.engine.preparing import Order, Report
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.self_test import Verdict
from ears_edge.engine.session import SessionOptions
from ears_edge.engine.stream import Stream
from ears_edge.engine.supply import FIRST_RETRY_S, LAST_RETRY_S, ModelSupply
from ears_edge.errors import (
    ModelCorruptError,
    ModelError,
    OverloadedError,
    UnavailableError,
    UnsupportedError,
)
from ears_edge.events import FinalText
from ears_edge.models.folder import EMBEDDED, ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.wishes import Wishes
from tests.fakes import FakeRecognizer, LoudDetector, tone

PLAIN = SessionOptions()
FORMAT = PcmFormat(16_000, 4, 1, "float")
PATIENCE_S = 30.0
WhileLoading = Literal["embedded", "wait", "refuse"]


class Named(FakeRecognizer):
    """Hears loudness, under a name of its own."""

    def __init__(self, name: str, languages: tuple[str, ...] = ("en",)) -> None:
        super().__init__()
        self.info = ModelInfo(name=name, languages=languages)


class World:
    """What the supply finds on this machine, and switches for what may go wrong."""

    def __init__(self) -> None:
        self.here: set[str] = {EMBEDDED, "big"}
        self.optimized: set[str] = {EMBEDDED, "big"}
        self.languages: dict[str, tuple[str, ...]] = {EMBEDDED: ("en",)}
        self.bad: set[str] = set()
        """Those that fail the self-test."""
        self.corrupt: set[str] = set()
        self.loaded: list[str] = []
        self.orders: list[Order] = []
        self.steps: asyncio.Queue[Report | Exception | None] = asyncio.Queue()
        """What preparing reports; None ends it well."""
        self.cancelled = asyncio.Event()
        self.may_load = threading.Event()
        self.may_load.set()
        self.slept: list[float] = []
        self.wake = asyncio.Semaphore(0)

    def info(self, name: str) -> ModelInfo:
        return ModelInfo(name=name, languages=self.languages.get(name, ("en", "de")))

    def survey(self, config: Config) -> Survey:
        name = config.model.name
        return Survey(info=self.info(name), pull=name not in self.here, optimize=name not in self.optimized)

    def load(self, config: Config) -> Recognizer:
        name = config.model.name
        if name != EMBEDDED:
            self.may_load.wait()
        if name in self.corrupt:
            raise ModelCorruptError(f"{name}: a file is damaged.")
        self.loaded.append(name)
        return Named(name, self.info(name).languages)

    def test(self, recognizer: Recognizer) -> Verdict:
        if recognizer.info.name in self.bad:
            return Verdict("failed", "it heard nothing")
        return Verdict("passed")

    async def prepare(self, order: Order, told: Callable[[Report], None]) -> None:
        self.orders.append(order)
        try:
            while (step := await self.steps.get()) is not None:
                if isinstance(step, Exception):
                    raise step
                told(step)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.here.add(order.name)
        self.optimized.add(order.name)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.wake.acquire()


class Rig:
    def __init__(self, engine: Engine, supply: ModelSupply, world: World) -> None:
        self.engine = engine
        self.supply = supply
        self.world = world

    async def until(self, reached: Callable[[ModelStatus], bool]) -> ModelStatus:
        async with asyncio.timeout(PATIENCE_S):
            while not reached(self.supply.status):
                await self.supply.change()
        return self.supply.status

    async def ready(self, name: str) -> ModelStatus:
        return await self.until(lambda status: status.phase == "ready" and status.serving == name)


def wish(name: str, while_loading: WhileLoading = "embedded", idle_unload_s: float = 0.0) -> Config:
    model = ModelConfig(name=name, while_loading=while_loading, idle_unload_s=idle_unload_s)
    return Config(model=model, engine=EngineConfig(max_sessions=4))


@asynccontextmanager
async def rig(config: Config, world: World | None = None) -> AsyncIterator[Rig]:
    world = world or World()
    announced = ModelInfo(name=config.model.name)
    async with Engine(None, config.engine, model=announced, detector=LoudDetector) as engine:
        supply = ModelSupply(
            engine,
            config,
            load=world.load,
            test=world.test,
            prepare=world.prepare,
            survey=world.survey,
            sleep=world.sleep,
        )
        running = asyncio.create_task(supply.run())
        try:
            yield Rig(engine, supply, world)
        finally:
            world.may_load.set()
            running.cancel()
            await asyncio.wait([running])
            await supply.close()


async def speak(stream: Stream, *levels: int) -> None:
    await stream.feed(tone(list(levels), 2).astype("<f4").tobytes(), FORMAT)


async def text_of(stream: Stream) -> str:
    """All that was heard; the stream ends."""
    try:
        await stream.finish()
        async for event in stream.events():
            if isinstance(event, FinalText):
                return event.text
    finally:
        await stream.close()
    raise AssertionError("no final text")


async def eventually(reached: Callable[[], bool]) -> None:
    """Let the others run until this holds; the test's own time limit is the only one."""
    while not reached():  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(0)


async def heard(engine: Engine, level: int) -> str:
    stream = engine.open(PLAIN)
    await speak(stream, 0, level)
    return await text_of(stream)


async def test_a_model_that_is_here_is_loaded_tested_and_serves() -> None:
    async with rig(wish("big", "wait")) as it:
        await it.supply.settled()
        status = await it.ready("big")
        assert (status.wanted, status.self_test, status.fault) == ("big", "passed", "")
        assert it.world.loaded == ["big"]
        assert not it.world.orders
        assert it.engine.model == it.world.info("big")
        assert await heard(it.engine, 3) == "w2"


async def test_who_speaks_before_the_model_is_there_is_heard_by_the_embedded_one() -> None:
    world = World()
    world.may_load.clear()
    async with rig(wish("big"), world) as it:
        await it.supply.settled()
        assert it.supply.status.serving == EMBEDDED
        assert it.engine.model == world.info("big")  # Home Assistant asks for the languages only once
        assert await heard(it.engine, 3) == "w2"
        world.may_load.set()
        await it.ready("big")


async def test_a_language_that_only_the_wanted_model_speaks_is_told_to_come_back() -> None:
    world = World()
    world.may_load.clear()
    async with rig(wish("big"), world) as it:
        await it.supply.settled()
        with pytest.raises(OverloadedError, match="does not speak 'de'; try again later") as refused:
            it.engine.open(SessionOptions(language="de"))
        assert refused.value.code == "loading"
        world.may_load.set()
        await it.ready("big")
        await it.engine.open(SessionOptions(language="de")).close()


async def test_after_a_switch_a_language_that_the_model_lacks_is_refused_for_good() -> None:
    async with rig(wish("big")) as it:
        await it.ready("big")
        await it.engine.open(SessionOptions(language="de-AT")).close()
        it.supply.want(wish(EMBEDDED))
        await it.ready(EMBEDDED)
        with pytest.raises(UnsupportedError, match="does not speak 'de'") as refused:
            it.engine.open(SessionOptions(language="de-AT"))
        assert refused.value.code == "unsupported-language"
        assert it.engine.sessions == 0


async def test_who_waits_for_the_model_is_heard_by_it_in_full() -> None:
    world = World()
    world.may_load.clear()
    async with rig(wish("big", "wait"), world) as it:
        stream = it.engine.open(SessionOptions(language="de"))
        await speak(stream, 0, 3, 0, 5)
        ending = asyncio.create_task(text_of(stream))
        await it.until(lambda status: status.phase == "loading")
        assert not ending.done()
        world.may_load.set()
        assert await ending == "w2 w4"
        assert world.loaded == ["big"]


async def test_who_shall_not_wait_is_refused_until_the_model_serves() -> None:
    world = World()
    world.optimized.clear()
    async with rig(wish("big", "refuse"), world) as it:
        await eventually(lambda: bool(world.orders))
        await it.supply.settled()
        with pytest.raises(OverloadedError, match="does not serve yet") as refused:
            it.engine.open(PLAIN)
        assert refused.value.code == "loading"
        world.steps.put_nowait(None)
        await it.ready("big")
        assert await heard(it.engine, 4) == "w3"


async def test_progress_is_told_while_the_model_is_fetched_and_optimized(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.here.discard("far")
    async with rig(wish("far"), world) as it:
        world.steps.put_nowait(Report(phase="fetching", note="far by Somebody, licence X"))
        for part in (0.0, 0.05, 0.5, 1.0):
            world.steps.put_nowait(Report(phase="fetching", done=part))
            status = await it.until(lambda status: status.done == part)  # noqa: B023  # at once
            assert (status.phase, status.wanted, status.serving) == ("fetching", "far", EMBEDDED)
        world.steps.put_nowait(Report(phase="optimizing"))
        await it.until(lambda status: status.phase == "optimizing")
        world.steps.put_nowait(None)
        await it.ready("far")
        assert [(order.pull, order.optimize) for order in world.orders] == [(True, True)]
    logged = [record.getMessage() for record in caplog.records]
    assert "far by Somebody, licence X" in logged
    assert [line for line in logged if "fetched (5%)" in line] == []  # calm: each tenth only
    assert [line for line in logged if "fetched (50%)" in line]


async def test_the_embedded_model_serves_before_it_is_optimized_and_again_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.optimized.discard(EMBEDDED)
    async with rig(wish(EMBEDDED, "refuse"), world) as it:
        await it.ready(EMBEDDED)
        await eventually(lambda: bool(world.orders))
        (order,) = world.orders
        assert (order.pull, order.optimize, order.compare) == (False, True, False)
        first = it.engine._recognizer
        begun = it.engine.open(PLAIN)
        await speak(begun, 0, 3)
        world.steps.put_nowait(Report(phase="optimizing"))
        world.steps.put_nowait(None)
        await eventually(lambda: it.engine._recognizer is not first)
        assert await text_of(begun) == "w2"
        assert await heard(it.engine, 4) == "w3"
        assert world.loaded == [EMBEDDED, EMBEDDED]
        assert (it.supply.status.phase, it.supply.status.self_test) == ("ready", "passed")
    assert "embedded is optimized for this machine, and serves so" in caplog.messages


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (UnavailableError("it is locked."), "embedded goes on as it is: it is locked."),
        (Report(phase="optimizing", note="not optimized: no room"), "not optimized: no room"),
        (Report(phase="optimizing"), "embedded goes on as it is; optimized, it heard nothing"),
    ],
)
async def test_an_embedded_model_that_can_not_be_optimized_serves_on_and_the_log_tells_why(
    step: Report | Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.optimized.discard(EMBEDDED)
    async with rig(wish(EMBEDDED), world) as it:
        await it.ready(EMBEDDED)
        await eventually(lambda: bool(world.orders))
        first = it.engine._recognizer
        world.bad.add(EMBEDDED)
        world.steps.put_nowait(step)
        world.steps.put_nowait(None)
        await eventually(lambda: told in caplog.messages)
        assert it.engine._recognizer is first
        assert it.supply.status.well
        assert await heard(it.engine, 3) == "w2"


async def test_a_wish_ends_the_optimizing_of_the_embedded_model() -> None:
    world = World()
    world.optimized.discard(EMBEDDED)
    async with rig(wish(EMBEDDED), world) as it:
        await it.ready(EMBEDDED)
        await eventually(lambda: bool(world.orders))
        it.supply.want(wish("big"))
        await it.ready("big")
        assert world.cancelled.is_set()


async def test_sessions_that_have_begun_are_heard_to_their_end_by_the_model_they_began_with() -> None:
    async with rig(wish(EMBEDDED)) as it:
        await it.ready(EMBEDDED)
        old = it.engine.open(PLAIN)
        await speak(old, 0, 3)
        first = it.engine._recognizer
        it.supply.want(wish("big"))
        await it.ready("big")
        assert isinstance(first, Named)
        new = it.engine.open(PLAIN)
        await speak(new, 0, 7)
        await speak(old, 0, 5)
        assert await text_of(new) == "w6"
        assert await text_of(old) == "w2 w4"
        assert len(first.windows) == 1
        second = it.engine._recognizer
        assert isinstance(second, Named)
        assert len(second.windows) == 1


async def test_a_model_that_is_damaged_leaves_what_serves_and_is_told() -> None:
    world = World()
    async with rig(wish(EMBEDDED), world) as it:
        await it.ready(EMBEDDED)
        world.corrupt.add("big")
        it.supply.want(wish("big"))
        status = await it.until(lambda status: status.phase == "failed")
        assert (status.wanted, status.serving, status.code) == ("big", EMBEDDED, "model-corrupt")
        assert status.fault == "big: a file is damaged"
        assert it.engine.model.name == EMBEDDED
        assert await heard(it.engine, 3) == "w2"
        world.corrupt.clear()
        it.supply.want(wish("big"))
        assert (await it.ready("big")).well


async def test_a_model_that_is_damaged_at_start_leaves_the_embedded_one() -> None:
    world = World()
    world.corrupt.add("big")
    async with rig(wish("big"), world) as it:
        status = await it.until(lambda status: status.phase == "failed" and status.serving != "")
        assert (status.serving, status.code) == (EMBEDDED, "model-corrupt")
        await eventually(lambda: it.engine.model.name == EMBEDDED)


async def test_those_who_wait_are_told_when_the_model_cannot_be_had() -> None:
    world = World()
    world.corrupt.add("big")
    world.may_load.clear()
    async with rig(wish("big", "wait"), world) as it:
        stream = it.engine.open(PLAIN)
        ending = asyncio.create_task(text_of(stream))
        await it.until(lambda status: status.phase == "loading")
        await asyncio.sleep(0)
        world.may_load.set()
        with pytest.raises(OverloadedError, match="a file is damaged"):
            await ending
        with pytest.raises(OverloadedError, match="a file is damaged"):
            it.engine.open(PLAIN)
        assert it.engine.sessions == 0


async def test_a_model_that_gives_a_wrong_answer_does_not_replace_a_good_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.bad.add("big")
    async with rig(wish("big"), world) as it:
        status = await it.until(lambda status: status.phase == "failed")
        assert (status.serving, status.self_test, status.code) == (EMBEDDED, "failed", "model-self-test")
        assert not status.well
        await eventually(lambda: it.engine.model.name == EMBEDDED)
        assert await heard(it.engine, 3) == "w2"
    assert "big can't be used: it heard nothing" in caplog.text


async def test_a_model_that_gives_a_wrong_answer_serves_if_nothing_else_does_and_is_marked() -> None:
    world = World()
    world.bad.add("big")
    async with rig(wish("big", "wait"), world) as it:
        status = await it.until(lambda status: status.phase == "failed")
        assert (status.serving, status.well, status.code) == ("big", False, "model-self-test")
        assert await heard(it.engine, 3) == "w2"


async def test_a_fetch_without_a_network_is_tried_again_less_and_less_often() -> None:
    world = World()
    world.here.discard("far")
    async with rig(wish("far"), world) as it:
        for _ in range(9):
            world.steps.put_nowait(UnavailableError("no network.", code="hub-unreachable"))
            world.wake.release()
        await eventually(lambda: len(world.slept) == 9)
        status = it.supply.status
        assert (status.phase, status.code, status.serving) == ("failed", "hub-unreachable", EMBEDDED)
        assert world.slept[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
        assert world.slept[-1] == LAST_RETRY_S
        assert it.engine.model.name == "far"  # it is still to come
        world.steps.put_nowait(Report(phase="fetching", done=0.1))
        assert (await it.until(lambda status: status.done == 0.1)).well
        world.steps.put_nowait(None)
        await it.ready("far")


async def test_a_model_that_cannot_be_had_is_not_asked_for_again() -> None:
    world = World()
    async with rig(wish("far"), world) as it:
        world.steps.put_nowait(ModelError("no such repository.", code="hub-no-repo"))
        await it.until(lambda status: status.phase == "failed")
        await eventually(lambda: it.engine.model.name == EMBEDDED)
        assert not world.slept


async def test_the_newest_wish_counts_and_the_one_before_is_given_up() -> None:
    world = World()
    async with rig(wish("far"), world) as it:
        await eventually(lambda: bool(world.orders))
        it.supply.want(wish("big"))
        await world.cancelled.wait()
        await it.ready("big")
        assert "far" not in world.loaded


async def test_a_model_that_is_on_its_way_is_followed_and_not_begun_anew() -> None:
    world = World()
    async with rig(wish("some/where"), world) as it:
        await eventually(lambda: bool(world.orders))
        wishes = Wishes(it.supply)
        newest = await wishes.use("some/where")
        world.steps.put_nowait(None)
        await it.ready("some/where")
        assert len(world.orders) == 1
        assert newest()
        await wishes.use("some/where")  # it is there: then this means to load it anew
        assert not newest()
        await it.ready("some/where")
        assert world.loaded.count("some/where") == 2


async def test_a_wish_ends_the_wait_for_the_next_try() -> None:
    world = World()
    async with rig(wish("far"), world) as it:
        world.steps.put_nowait(UnavailableError("no network."))
        await eventually(lambda: bool(world.slept))
        it.supply.want(wish("big"))
        await it.ready("big")


async def test_a_defect_of_ours_is_logged_and_the_next_wish_is_fulfilled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    async with rig(wish("far"), world) as it:
        world.steps.put_nowait(ZeroDivisionError("oops"))
        status = await it.until(lambda status: status.phase == "failed")
        assert status.code == "internal"
        assert "oops" in caplog.text
        it.supply.want(wish("big"))
        await it.ready("big")


async def test_a_model_that_nobody_needs_is_put_down_and_comes_back_for_who_speaks() -> None:
    async with rig(wish("big", idle_unload_s=0.001)) as it:
        status = await it.until(lambda status: status.phase == "unloaded")
        assert (status.serving, status.well, status.self_test) == ("", True, "passed")
        assert it.engine.serving is None
        assert it.engine.model.name == "big"
        assert await heard(it.engine, 5) == "w4"
        assert it.world.loaded == [EMBEDDED, "big", "big"]
        await it.until(lambda status: status.phase == "unloaded")


async def test_a_model_is_not_put_down_while_somebody_speaks() -> None:
    async with rig(wish("big", idle_unload_s=0.001)) as it:
        await it.ready("big")
        stream = it.engine.open(PLAIN)
        await it.until(lambda status: status.phase == "ready" and status.serving == "big")
        putting_down = asyncio.create_task(it.until(lambda status: status.phase == "unloaded"))
        done, _ = await asyncio.wait([putting_down], timeout=0.05)  # many times the patience
        assert not done
        await stream.close()
        await putting_down


async def test_a_model_that_cannot_be_loaded_again_is_told_and_the_embedded_one_serves() -> None:
    world = World()
    async with rig(wish("big", idle_unload_s=0.001), world) as it:
        await it.until(lambda status: status.phase == "unloaded")
        world.corrupt.add("big")
        stream = it.engine.open(PLAIN)
        with pytest.raises(OverloadedError, match="a file is damaged"):
            await text_of(stream)
        status = await it.until(lambda status: status.serving == EMBEDDED)
        assert status.code == "model-corrupt"
        assert await heard(it.engine, 3) == "w2"


async def test_languages_of_the_settings_are_not_those_of_the_embedded_model() -> None:
    config = wish("big")
    config = replace(config, model=replace(config.model, languages=("fr",)))
    seen: list[tuple[str, tuple[str, ...]]] = []
    world = World()
    load = world.load

    def noted(asked: Config) -> Recognizer:
        seen.append((asked.model.name, asked.model.languages))
        return load(asked)

    world.load = noted  # type: ignore[assignment,method-assign]  # notes what it is asked for
    async with rig(config, world) as it:
        await it.ready("big")
    assert seen == [(EMBEDDED, ()), ("big", ("fr",))]
