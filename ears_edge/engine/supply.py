"""Bringing the model that is wanted, while the engine goes on serving with what it has.

A wish goes through these phases: fetched from the hub if it is not on this machine, rewritten for this
machine if that was not tried yet (both in a child process), loaded, tested with a known clip, and swapped in.
If one of them fails, the engine keeps what it has, and the status tells why. What may succeed later without
anybody's doing, such as a fetch without a network, is tried again.

The embedded model is loaded in a second, so it serves before it is rewritten, and again after.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Final, ParamSpec, TypeAlias, TypeVar

from ears_edge.asr.providers import CPU
from ears_edge.config import Config
from ears_edge.engine import loading, preparation
from ears_edge.engine.preparing import Order, Report
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.self_test import SELF_TEST, Verdict, test_recognizer
from ears_edge.errors import EarsEdgeError, ModelError, UnavailableError
from ears_edge.models.folder import EMBEDDED
from ears_edge.models.status import ModelStatus, Phase, SelfTest

FIRST_RETRY_S: Final = 15.0
LAST_RETRY_S: Final = 900.0
"""Between two tries to bring a model; doubled from the first to the last."""
LOG_STEP: Final = 0.1
"""Progress is logged when this much more is done."""
DEFECT: Final = "internal"

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Load: TypeAlias = Callable[[Config], Recognizer]
Test: TypeAlias = Callable[[Recognizer], Verdict]
Prepare: TypeAlias = Callable[[Order, Callable[[Report], None]], Awaitable[None]]


class ModelSupply:
    """Fulfils the newest wish; `run` it as a task, and `close` it in the end."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        *,
        load: Load = loading.load,
        test: Test = test_recognizer,
        prepare: Prepare = preparation.prepare,
        survey: Callable[[Config], loading.Survey] = loading.survey,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Prepare; nothing is done yet.

        Args:
            engine: Is given the models, and the status.
            config: The settings, with the first wish in `model`.
            load: Blocks, and gives a model that is on this machine.
            test: Blocks, and tells whether it can be trusted.
            prepare: Has a model ready on this machine.
            survey: Blocks, and tells what is there and what is to be done.
            sleep: Waits between two tries.
        """
        self._engine = engine
        self._config = config
        self._load = load
        self._test = test
        self._prepare = prepare
        self._survey = survey
        self._sleep = sleep
        self._wished = asyncio.Event()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._wanted = engine.model.name
        self._fault = self._code = ""
        self._complaint = ("", "")
        """The fault that was logged last, and its code."""
        self._bridging = False
        """The embedded model serves in the place of the wanted one."""
        self._logged: tuple[Phase, float] = ("loading", 0.0)
        # One model at a time is read into memory, also if wishes come fast.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._tell("loading")

    @property
    def status(self) -> ModelStatus:
        """How it stands now."""
        return self._engine.status

    @property
    def config(self) -> Config:
        """The settings, with the newest wish."""
        return self._config

    async def settled(self) -> None:
        """Wait until a model serves for the first time, or it is clear that this takes long or fails."""
        await self._settled.wait()

    def change(self) -> Awaitable[object]:
        """What ends when the status changes from what it is at this call."""
        return self._changed.wait()

    def want(self, config: Config) -> None:
        """Fulfil this wish, and forget the one before. The same wish is fulfilled anew."""
        self._config = config
        self._wanted = config.model.name
        self._fault = self._code = ""
        self._wished.set()
        self._tell("loading")

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._wished.clear()
            fulfilling = asyncio.create_task(self._fulfil(self._config))
            wished = asyncio.create_task(self._wished.wait())
            try:
                await asyncio.wait({fulfilling, wished}, return_when=asyncio.FIRST_COMPLETED)
                if fulfilling.done() and (defect := fulfilling.exception()) is not None:
                    logger.error("bringing the model has failed", exc_info=defect)
                    self._fail("a fault of ours; the log tells more", DEFECT)
                await wished
            finally:
                for task in (fulfilling, wished):
                    task.cancel()
                await asyncio.gather(fulfilling, wished, return_exceptions=True)

    async def close(self) -> None:
        """Join the thread; a load that runs is waited for."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _fulfil(self, config: Config) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                if await self._bring(config):
                    await self._improve(config)
                await self._keep(config)
            except EarsEdgeError as exc:
                later = isinstance(exc, UnavailableError)
                self._fail(str(exc), exc.code)
                await self._bridge(config)
                if not later:
                    # What it can't be had for needs somebody: until then, say what is true.
                    self._engine.model = self._engine.serving or self._engine.model
                await self._blocking(loading.give_back_memory)
                if not later:
                    return
                logger.info("%s: will be tried again in %.0f s", self._wanted, retry_s)
                await self._sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            else:
                return

    async def _bring(self, config: Config) -> bool:
        """All phases of one wish, and whether the rewrite is still to come.

        Raises:
            ModelError: The model can't be used, or what it says is not to be trusted.
            UnavailableError: It can't be had now.
        """
        survey = await self._blocking(self._survey, config)
        self._wanted = survey.info.name
        if self._engine.serving is None or self._bridging:
            self._engine.model = survey.info
        self._tell("loading")
        await self._bridge(config)
        if self._engine.serving is None:
            self._welcome_or_refuse(config)
        later = survey.optimize and config.model.name == EMBEDDED
        if survey.pull or survey.compare or (survey.optimize and not later):
            order = Order(
                model=config.model,
                models=config.models,
                engine=config.engine,
                pull=survey.pull,
                optimize=config.model.optimize and config.model.device in {"auto", CPU.device},
                compare=config.model.device == "auto",
            )
            self._report(Report(phase="fetching" if survey.pull else "optimizing"))
            await self._prepare(order, self._report)
        self._tell("loading")
        recognizer = await self._blocking(self._load, config)
        self._wanted = recognizer.info.name
        self._tell("testing")
        verdict = await self._blocking(self._test, recognizer)
        if verdict.outcome == "failed":
            if self._engine.serving is None:  # better than nothing, and everybody is told
                self._take(recognizer)
            raise ModelError(verdict.fault, code=SELF_TEST)
        self._take(recognizer)
        self._bridging = False
        self._fault = self._code = ""
        self._complaint = ("", "")
        self._tell("ready", self_test=verdict.outcome)
        logger.info("model %s serves; self-test: %s", recognizer.info.name, verdict.outcome)
        await self._blocking(loading.give_back_memory)
        return later

    async def _improve(self, config: Config) -> None:
        """Have the encoder of the model that serves rewritten, and let that serve if it hears as well.

        Whatever goes wrong is logged, and the model serves as it is.
        """
        reports: list[Report] = []
        order = Order(model=config.model, models=config.models, engine=config.engine, optimize=True)
        logger.info("%s is being optimized for this machine while it serves", self._wanted)
        try:
            await self._prepare(order, reports.append)
            if notes := [report.note for report in reports if report.note]:
                logger.info("%s", "; ".join(notes))
                return
            recognizer = await self._blocking(self._load, config)
            verdict = await self._blocking(self._test, recognizer)
        except EarsEdgeError as exc:
            logger.info("%s goes on as it is: %s", self._wanted, exc)
            return
        if verdict.outcome == "failed":
            logger.warning("%s goes on as it is; optimized, %s", self._wanted, verdict.fault)
            return
        self._take(recognizer)
        logger.info("%s is optimized for this machine, and serves so", self._wanted)
        await self._blocking(loading.give_back_memory)

    async def _bridge(self, config: Config) -> None:
        """Let the embedded model serve in the place of the wanted one, if nothing does and it may."""
        model = config.model
        if self._engine.serving is not None or model.name == EMBEDDED or model.while_loading != "embedded":
            return
        # It has no float encoder, which another device may want.
        embedded = replace(config, model=replace(model, name=EMBEDDED, languages=(), device="cpu"))
        try:
            recognizer = await self._blocking(self._load, embedded)
        except ModelError as exc:
            logger.error("the embedded model can't be used: %s", exc)  # noqa: TRY400  # the text says it all
            return
        self._bridging = True
        self._engine.use(recognizer)
        self._tell(self.status.phase)

    def _welcome_or_refuse(self, config: Config) -> None:
        if config.model.while_loading == "refuse":
            self._engine.refuse(f"the model {self._wanted} does not serve yet; try again later")
        else:
            self._engine.accept()

    def _take(self, recognizer: Recognizer) -> None:
        self._engine.model = recognizer.info
        self._engine.use(recognizer)

    async def _keep(self, config: Config) -> None:
        """Put the model down when nobody speaks for long, and load it when somebody does.

        Raises:
            ModelError: It can't be loaded again.
        """
        patience_s = config.model.idle_unload_s
        while patience_s and not self._fault:
            await self._engine.idle.wait()
            try:
                async with asyncio.timeout(patience_s):
                    await self._engine.in_use.wait()
                continue
            except TimeoutError:
                pass
            self._engine.accept()
            self._engine.asked_for.clear()
            if not self._engine.unload():
                continue
            tested = self.status.self_test
            self._tell("unloaded", self_test=tested)
            logger.info("model %s was put down: nobody spoke for %g s", self._wanted, patience_s)
            await self._blocking(loading.give_back_memory)
            await self._engine.asked_for.wait()
            self._tell("loading", self_test=tested)
            self._take(await self._blocking(self._load, config))
            self._tell("ready", self_test=tested)
            logger.info("model %s serves again", self._wanted)

    async def _blocking(self, function: Callable[P, T], *arguments: P.args, **names: P.kwargs) -> T:
        call = partial(function, *arguments, **names)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _report(self, report: Report) -> None:
        if report.note:
            logger.info("%s", report.note)
        if report.done is not None:  # it goes on, whatever there was before
            self._fault = self._code = ""
        self._tell(report.phase, done=report.done)
        phase, part = self._logged
        if report.phase != phase or (report.done or 0.0) >= part + LOG_STEP:
            self._logged = report.phase, report.done or 0.0
            logger.info("%s", self.status.line())

    def _fail(self, fault: str, code: str) -> None:
        self._fault, self._code = fault.rstrip("."), code
        again, self._complaint = self._complaint == (fault, code), (fault, code)
        if self._engine.serving is None:
            self._engine.refuse(f"the model {self._wanted} can't be used: {fault}")
        self._tell("failed", self_test="failed" if code == SELF_TEST else "")
        # Each try to reach a hub that can't be reached would else be an error of its own.
        logger.log(logging.INFO if again else logging.ERROR, "%s (%s)", self.status.line(), code)

    def _tell(self, phase: Phase, *, done: float | None = None, self_test: SelfTest = "") -> None:
        serving = self._engine.serving
        self._engine.status = ModelStatus(
            wanted=self._wanted,
            serving=serving.name if serving else "",
            phase=phase,
            done=done,
            fault=self._fault,
            code=self._code,
            self_test=self_test,
        )
        if serving is not None or phase not in {"loading", "testing"}:
            self._settled.set()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
