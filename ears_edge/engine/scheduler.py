"""The engine: the model that serves, the sessions that it hears, and the two threads.

One thread does the sessions' signal processing, one the decodes. A model can be swapped at any time: sessions
that have begun are heard to their end by the model that they began with.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from ears_edge.config import EngineConfig
from ears_edge.dsp.vad import SpeechDetector, new_detector
from ears_edge.engine.inference import InferenceQueue
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.session import Session, SessionOptions
from ears_edge.engine.stream import Stream
from ears_edge.errors import OverloadedError
from ears_edge.models.folder import ModelInfo, bare_language
from ears_edge.models.status import ModelStatus

LOADING: Final = "loading"
"""Code of the refusal while no fit model serves."""


class Engine:
    """The model that serves, and the streams that it hears. Use as an asynchronous context manager."""

    def __init__(
        self,
        recognizer: Recognizer | None,
        config: EngineConfig,
        *,
        model: ModelInfo | None = None,
        detector: Callable[[], SpeechDetector] = new_detector,
    ) -> None:
        """Prepare; threads begin with the first work.

        Args:
            recognizer: The model that serves; None if it comes later, by `use`.
            config: Limits and geometry.
            model: What is announced while none serves; needed without a recognizer.
            detector: Makes a voice activity detector for each session.
        """
        announced = model or (recognizer.info if recognizer else None)
        if announced is None:
            raise ValueError("an engine needs a recognizer, or a model to announce")
        self.model: ModelInfo = announced
        """What is announced: the wanted model, also while another one serves in its place."""
        self.status = ModelStatus(wanted=announced.name, serving=recognizer.info.name if recognizer else "")
        """How it stands with the model, for those who ask."""
        self.asked_for = asyncio.Event()
        """Set when a session waits for a model; whoever brings one clears it."""
        self.in_use = asyncio.Event()
        """Set while a session is open."""
        self.idle = asyncio.Event()
        """Set while none is."""
        self.idle.set()
        self._recognizer = recognizer
        self._config = config
        self._detector = detector
        self._queue = InferenceQueue()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="signal")
        self._streams: set[Stream] = set()
        self._waiting: set[asyncio.Future[Recognizer]] = set()
        self._refusal = ""
        self._runner: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def serving(self) -> ModelInfo | None:
        """The model that hears those who begin to speak now."""
        return self._recognizer.info if self._recognizer else None

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

    def use(self, recognizer: Recognizer) -> None:
        """Hear all sessions that begin from now on with this model; those that wait for one begin."""
        self._recognizer = recognizer
        self._refusal = ""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(recognizer)

    def refuse(self, reason: str) -> None:
        """While no model serves, tell those who want to speak this; also those who wait already."""
        self._refusal = reason
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_exception(OverloadedError(reason, code=LOADING))

    def accept(self) -> None:
        """While no model serves, let those who want to speak wait for one."""
        self._refusal = ""

    def unload(self) -> bool:
        """Give the model up, if nobody speaks; who does next waits for the next `use`.

        Returns:
            Whether it was given up.
        """
        if self._streams or self._recognizer is None:
            return False
        self._recognizer = None
        return True

    def open(self, options: SessionOptions) -> Stream:
        """Take a slot and begin a session.

        Raises:
            OverloadedError: All slots are in use, or the engine is about to end (`busy`); no model serves, or
                one that does not speak the language while the wanted one, which does, is on its way
                (`loading`).
            UnsupportedError: The model does not speak the language.
        """
        if self._closing:
            raise OverloadedError("the engine is about to end; try again later")
        if len(self._streams) >= self._config.max_sessions:
            raise OverloadedError(f"all {self._config.max_sessions} sessions are in use; try again later")
        if self._recognizer is None and self._refusal:
            raise OverloadedError(self._refusal, code=LOADING)
        if self._recognizer is not None:
            self._check_language(self._recognizer, options.language)
        stream = Stream(
            lambda: self._begin(options), self._queue, self._pool, self._config.max_queued_s, self._release
        )
        self._streams.add(stream)
        self.idle.clear()
        self.in_use.set()
        return stream

    async def _begin(self, options: SessionOptions) -> Session:
        recognizer = self._recognizer
        if recognizer is None:
            arrival: asyncio.Future[Recognizer] = asyncio.get_running_loop().create_future()
            self._waiting.add(arrival)
            self.asked_for.set()
            try:
                recognizer = await arrival
            finally:
                self._waiting.discard(arrival)
            self._check_language(recognizer, options.language)
        return Session(recognizer, self._config, options, self._detector)

    def _check_language(self, recognizer: Recognizer, language: str | None) -> None:
        """A model that serves in the place of the wanted one may not speak all of its languages.

        After a switch, the wanted one itself may lack what a client has asked for before.
        """
        if recognizer.info == self.model:
            self.model.language(language)
            return
        spoken = [bare_language(one) for one in recognizer.info.languages]
        if language and spoken and bare_language(language) not in spoken:
            raise OverloadedError(
                f"{recognizer.info.name}, which serves until {self.model.name} does, does not speak "
                f"{bare_language(language)!r}; try again later",
                code=LOADING,
            )

    def _release(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if not self._streams:
            self.in_use.clear()
            self.idle.set()
