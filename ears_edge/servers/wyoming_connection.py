"""One Wyoming client: its requests, utterance after utterance.

What is answered, and what ends the connection:

* Bytes that can't be read on from (the codes of `FrameReader`), a stream that ends inside an event
  (`truncated`), a client that sends no whole event for `idle_timeout_s` while nothing is being worked on for
  it (`idle-timeout`) and a fault of our own (`internal`): an `error`, then the connection is closed.
* A sound event that asks for what is not there (`bad-event`, `bad-audio`, `unsupported-language`,
  `unknown-model`, `unknown-program`), an engine that is full (`busy`) or fails (`inference`): an `error`; the
  connection stays. If it concerned the utterance, that error is its one answer: its audio is swallowed up to
  its `audio-stop` or the next `audio-start`.
* Each `audio-stop` is thus answered once: by a transcript (an empty one if there was no audio), or by the
  error that came before it.
* `transcribe` holds for the utterance whose audio comes next. A second `audio-start` before `audio-stop`
  drops what was heard, unanswered, and begins again; a `transcribe` sent for the dropped one still holds.
* Utterances are answered one after the other: the audio of the next one waits, unread, for the answer to the
  one before; other requests meanwhile are answered at once.
* A stream that ends after `audio-stop` is still answered; one that ends before frees its slot at once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Literal, assert_never

from ears_edge.config import WyomingConfig
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import EarsEdgeError, PeerProtocolError, UnsupportedError
from ears_edge.servers.engine_port import Engine
from ears_edge.servers.wyoming_channel import Channel
from ears_edge.servers.wyoming_utterance import Log, Order, Utterance
from ears_edge.wire import wyoming
from ears_edge.wire.wyoming_frames import Frame, FrameReader

MAX_SHOWN_CHARS: Final = 40
"""Of a client's own text in an error message."""

_AUDIO: Final = frozenset({"audio-start", "audio-chunk", "audio-stop"})


class Connection:
    """Serves one channel until the client leaves, breaks the protocol or the server retires it."""

    def __init__(
        self, channel: Channel, engine: Engine, config: WyomingConfig, info: Callable[[], bytes], log: Log
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._config = config
        self._info = info
        self._log = log
        self._frames = FrameReader(
            max_header_bytes=config.max_header_bytes,
            max_data_bytes=config.max_data_bytes,
            max_payload_bytes=config.max_payload_bytes,
        )
        self._phase: Literal["idle", "listening", "swallowing"] = "idle"
        self._order: Order | Literal["refused"] | None = None
        """For the utterance whose audio comes next."""
        self._utterance: Utterance | None = None
        """The one that is being heard; None until its first audio."""
        self._answer: asyncio.Task[None] | None = None
        """Tells the answer of the utterance, or of the one before; at most one is there."""
        self._told: Utterance | None = None
        """The utterance that `_answer` is about."""
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[object] | None = None
        self._retiring = False
        self._closing = False
        self._linger = False

    async def run(self) -> None:
        """Serve; returns when all is closed and freed. Raises nothing but CancelledError."""
        self._task = asyncio.current_task()
        try:
            async with self._tasks:
                if not self._retiring:
                    await self._talk()
        except* ConnectionError as lost:
            missed = self._told is not None and not self._told.answered
            self._log.log(
                logging.INFO if missed else logging.DEBUG, "connection lost: %s", lost.exceptions[0]
            )
        except* Exception:  # noqa: BLE001  # the guard: a fault of ours costs this connection only
            self._log.exception("internal error")
            self._linger = True
            self._last_words("This server has failed at this request. Its log tells more.", "internal")
        finally:
            self._closing = True
            try:
                await self._drop()
            finally:
                await self._channel.close(linger=self._linger)

    def retire(self) -> None:
        """Take no further utterance: close now, or once the one at hand is answered."""
        self._retiring = True
        if self._busy:
            self._linger = True
        else:
            self._cancel()

    def cut(self) -> None:
        """Close now; an utterance at hand ends with an error."""
        self._retiring = True
        self._linger = False
        if self._busy:
            self._last_words("This server is shutting down. Try again in a while.", "shutting-down")
        self._cancel()

    @property
    def _busy(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _cancel(self) -> None:
        if self._closing:
            self._channel.abort()
        elif self._task is not None:
            self._task.cancel()

    def _last_words(self, text: str, code: str) -> None:
        self._channel.send_nowait(wyoming.error(text, code))

    async def _talk(self) -> None:
        try:
            await self._read_all()
        except PeerProtocolError as exc:
            await self._drop()
            self._linger = True
            await self._refuse(exc)
            return
        await self._let_go()
        await self._settle()

    async def _read_all(self) -> None:
        """Answer until the end of the stream.

        Raises:
            PeerProtocolError: The stream can't be read on, has ended inside an event, or has stood still.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + self._config.idle_timeout_s
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    block = await self._channel.read()
            except TimeoutError as exc:
                if self._phase == "idle" and self._busy:
                    deadline = now() + self._config.idle_timeout_s
                    continue
                raise PeerProtocolError(
                    f"No event came for {self._config.idle_timeout_s:g} s. Connect again when there is one.",
                    code="idle-timeout",
                ) from exc
            if not block:
                break
            self._frames.receive(block)
            while (frame := self._frames.next_frame()) is not None:
                await self._hear(frame)
                deadline = now() + self._config.idle_timeout_s
                await asyncio.sleep(0)  # a flood of small events takes turns with the other clients
        if self._frames.mid_frame:
            raise PeerProtocolError("The connection has ended inside an event.", code="truncated")

    async def _hear(self, frame: Frame) -> None:
        try:
            request = wyoming.decode(frame)
            if request is not None:
                await self._answer_to(request)
        except EarsEdgeError as exc:
            await self._decline(frame.type, exc)

    async def _answer_to(self, request: wyoming.Request) -> None:
        match request:
            case wyoming.Describe():
                await self._channel.send(self._info())
            case wyoming.Ping(text=text):
                await self._channel.send(wyoming.pong(text))
            case wyoming.SelectProgram(name=name):
                if name != wyoming.PROGRAM:
                    raise UnsupportedError(
                        f"There is no program {_shown(name)} here; {wyoming.PROGRAM!r} is.",
                        code="unknown-program",
                    )
            case wyoming.Transcribe():
                self._order = self._order_of(request)
            case wyoming.AudioStart():
                request.format()
                await self._begin()
            case wyoming.AudioChunk():
                await self._hear_audio(request)
            case wyoming.AudioStop():
                await self._stop()
            case _:
                assert_never(request)

    async def _decline(self, kind: str, exc: EarsEdgeError) -> None:
        """Answer what was refused, and let the utterance that it concerned go."""
        told = self._phase == "swallowing" and kind in {"audio-chunk", "audio-stop"}
        if kind == "transcribe":
            self._order = "refused"
        elif kind in _AUDIO:
            await self._let_go()
            self._order = None
            self._phase = "idle" if kind == "audio-stop" else "swallowing"
        if not told:
            await self._refuse(exc)

    async def _refuse(self, exc: EarsEdgeError) -> None:
        self._log.info("refused: %s: %s", exc.code, exc)
        await self._channel.send(wyoming.error(str(exc), exc.code))

    def _order_of(self, request: wyoming.Transcribe) -> Order:
        model = self._engine.model
        if request.name and request.name not in {model.name, wyoming.PROGRAM}:
            raise UnsupportedError(
                f"There is no model {_shown(request.name)} here; {model.name!r} is.", code="unknown-model"
            )
        options = SessionOptions(
            live_words=self._config.live_words,
            language=model.language(request.language),
            terms=request.words_to_expect,
        )
        return Order(options=options, context=request.context)

    def _take_order(self) -> Order | None:
        """What the utterance at hand was asked for with; None if that was refused."""
        order, self._order = self._order, None
        if order is None:
            return Order(options=SessionOptions(live_words=self._config.live_words))
        return None if order == "refused" else order

    async def _begin(self) -> None:
        dropped = self._utterance.order if self._utterance is not None else None
        await self._let_go()
        self._order = self._order or dropped
        self._phase = "listening"

    async def _hear_audio(self, chunk: wyoming.AudioChunk) -> None:
        if self._phase == "swallowing":
            return
        fmt = chunk.format()
        self._phase = "listening"
        if not chunk.audio:
            return
        utterance = self._utterance or await self._open()
        if utterance is not None:
            await utterance.hear(chunk.audio, fmt)
        if utterance is None or utterance.over:
            await self._let_go()
            self._phase = "swallowing"

    async def _open(self) -> Utterance | None:
        """The utterance at hand gets its slot; None if its order was refused.

        Raises:
            OverloadedError: There is none.
        """
        await self._settle()
        order = self._take_order()
        if order is None:
            return None
        utterance = Utterance(self._engine.open(order.options), order, self._channel.send, self._log)
        self._utterance = self._told = utterance
        self._answer = self._tasks.create_task(self._tell(utterance))
        return utterance

    async def _stop(self) -> None:
        phase, self._phase = self._phase, "idle"
        if phase == "swallowing":
            return
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            if not utterance.over:
                await utterance.finish()
            return
        await self._settle()
        order = self._take_order()
        if order is not None:
            language = order.options.language or _only(self._engine.model.languages)
            await self._channel.send(
                wyoming.transcript_start(language, order.context)
                + wyoming.transcript("", language, order.context)
                + wyoming.transcript_stop()
            )

    async def _tell(self, utterance: Utterance) -> None:
        try:
            await utterance.tell()
        finally:
            if self._retiring:
                self._cancel()

    async def _let_go(self) -> None:
        """Have done with the utterance being heard: drop it, or wait for its answer if that is on its way."""
        if self._utterance is None:
            return
        if self._utterance.over:
            self._utterance = None
            await self._settle()
        else:
            await self._drop()

    async def _settle(self) -> None:
        """Wait until the answer on its way is complete."""
        if self._answer is not None:
            await asyncio.wait({self._answer})

    async def _drop(self) -> None:
        """Drop the utterance or the answer at hand, and free its slot."""
        told, self._told, self._utterance = self._told, None, None
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()
        if told is not None:
            await told.close()
        if answer is not None:
            await asyncio.wait({answer})


def _only(languages: tuple[str, ...]) -> str | None:
    return languages[0] if len(languages) == 1 else None


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "...")
