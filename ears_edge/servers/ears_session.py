"""The active role: a client's audio in, its words out."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias, assert_never

from ears_edge.config import EarsConfig
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import (
    EarsEdgeError,
    InferenceError,
    OverloadedError,
    PeerProtocolError,
    UnsupportedError,
)
from ears_edge.events import Language
from ears_edge.servers.ears_role import (
    GONE,
    INTERNAL,
    NORMAL,
    POLICY,
    TRY_LATER,
    ConnectionLog,
    EarsCounters,
    Ending,
    Role,
)
from ears_edge.servers.engine_port import Engine, Stream
from ears_edge.servers.listeners import StreamRegistry
from ears_edge.servers.peer import Peer, PeerGoneError
from ears_edge.wire import ears

BUSY: Final = "server busy - maximum concurrent sessions reached"
"""Source: byteowlz/eaRS src/server.rs; the HTML client looks for how it begins."""

_OUR_NAMES: Final = frozenset({"parakeet", "prkt"})
_UPSTREAM_NAMES: Final = frozenset({"kyutai", "moshi"})
"""Engines by the names eaRS's clients ask for. Source: byteowlz/eaRS src/server.rs, EngineKind."""

Outcome: TypeAlias = Ending | ears.Authenticate


class ActiveRole(Role[Outcome]):
    """One active connection and the stream that listeners see, from the first message on.

    A slot of the engine is taken with the first audio and given back by `restart`, so a window that is open
    with its microphone off costs none. `restart` and the end of a connection make what was said final first:
    the last words and the `final` go out, then `enginechanged` opens the next session.

    While `pause` holds, audio is not heard, and stream time stands still; eaRS itself ignores `pause`.
    """

    def __init__(
        self,
        peer: Peer,
        engine: Engine,
        registry: StreamRegistry,
        config: EarsConfig,
        *,
        counters: EarsCounters,
        unix_time: Callable[[], float],
        log: ConnectionLog,
    ) -> None:
        super().__init__(peer, counters, log)
        self._engine = engine
        self._registry = registry
        self._config = config
        self._unix_time = unix_time
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._stream: Stream | None = None
        self._relay: asyncio.Task[None] | None = None
        self._stream_id = 0
        self._hint: str | None = None
        self._detected: str | None = None
        self._paused = False
        self._audio_came = False
        self._finishing = False
        self._client_gone = False
        self._broken: Ending | None = None
        self._stall_at: float | None = None

    async def run(self, first: str | bytes) -> Outcome:
        """Serve until there is a reason to end; the caller closes the connection with it.

        An `Authenticate` means that the client wants to listen: no audio has come from it.
        """
        try:
            async with self._tasks:
                reader = self._tasks.create_task(self._read(first))
                outcome = await self._outcome
                reader.cancel()
                await asyncio.wait({reader})
                if isinstance(outcome, Ending):
                    if outcome.orderly:
                        await self._wind_up()
                    outcome = self._broken or outcome
                if self._relay is not None:
                    self._relay.cancel()
                if self._stream is not None:
                    await self._stream.close()
                if isinstance(outcome, Ending) and outcome.notice is not None:
                    await self._tell(outcome.notice)
        finally:
            self._registry.remove(self._stream_id)
            if self._stream is not None:
                await self._stream.close()
        return outcome

    async def _read(self, first: str | bytes) -> None:
        try:
            if isinstance(first, bytes) and len(first) > ears.ragged_bytes(first):
                self._open()  # a client that is refused is never listed
            self._stream_id = self._registry.add()
            await self._publish(ears.engine_changed())
            message = first
            while True:
                if isinstance(message, bytes):
                    await self._hear(message)
                else:
                    await self._obey(message)
                message = await self._next_message()
        except PeerGoneError:
            self._lose_client()
        except EarsEdgeError as exc:
            self._fail(exc)

    async def _next_message(self) -> str | bytes:
        idle_at = self._loop.time() + self._config.idle_timeout_s
        while True:
            stalled = self._stall_at is not None and self._stall_at < idle_at
            try:
                return await self._peer.receive(self._stall_at if stalled else idle_at)
            except TimeoutError:
                if not stalled:
                    self.end(Ending(NORMAL, f"idle for {self._config.idle_timeout_s:g} s", orderly=True))
                    await _until_cancelled()
                await self._flush()

    async def _hear(self, message: bytes) -> None:
        self._counters.ragged_bytes += ears.ragged_bytes(message)
        self._audio_came = self._audio_came or len(message) > 0
        if self._paused:
            return
        for block in ears.audio_blocks(message):
            stream = self._stream or self._open()
            await stream.feed(block, ears.AUDIO)
            self._stall_at = self._loop.time() + self._config.stall_flush_s

    async def _flush(self) -> None:
        self._stall_at = None
        if self._stream is not None:
            await self._stream.flush()

    async def _obey(self, text: str) -> None:
        try:
            command = ears.decode_command(text)
            if isinstance(command, ears.ListenerCommand):
                await self._turn_listener(command)
            else:
                await self._carry_out(command)
        except PeerProtocolError as exc:
            refusal = self._refusal(exc)
            if isinstance(refusal, Ending):
                self.end(refusal)
            else:
                await self._tell(refusal)

    async def _carry_out(self, command: ears.ActiveCommand) -> None:
        match command:
            case ears.Stop():
                self.end(Ending(NORMAL, orderly=True))
                await _until_cancelled()  # nothing that follows is heard
            case ears.GetStatus():
                await self._publish(self._status())
            case ears.SetLanguage(lang):
                await self._set_language(lang)
            case ears.SetEngine(engine):
                await self._set_engine(engine.strip().lower())
            case ears.Restart():
                await self._restart()
            case ears.PauseHearing():
                self._paused = True
                await self._flush()
            case ears.ResumeHearing():
                self._paused = False
            case ears.SetVadTimeout():
                pass
            case _:
                assert_never(command)

    async def _turn_listener(self, command: ears.ListenerCommand) -> None:
        """EaRS's `subs` asks for an engine first and authenticates then: no audio has come, so it may."""
        if self._audio_came or not isinstance(command, ears.Authenticate):
            raise PeerProtocolError(
                "bad-message: this connection speaks; listen on another one", code="wrong-role"
            )
        self.end(command)
        await _until_cancelled()  # what follows is the listener's

    def _status(self) -> str:
        return ears.status(
            paused=self._paused,
            vad=self._config.vad,
            timestamps=self._config.timestamps,
            lang=self._hint or self._detected,
            model=self._engine.status,
        )

    async def _set_language(self, lang: str) -> None:
        try:
            code = self._engine.model.language(lang)
        except UnsupportedError as exc:
            await self._tell(ears.error(f"unsupported language: {exc}", exc.code))
            return
        if code is None:
            await self._tell(ears.error("unsupported language: none was named", "unsupported-language"))
            return
        self._hint = code
        await self._publish(ears.language_changed(code))
        await self._publish(self._status())

    async def _set_engine(self, name: str) -> None:
        if name in _OUR_NAMES:
            await self._publish(ears.engine_changed())
        elif name in _UPSTREAM_NAMES:
            await self._tell(ears.error("engine not available", "engine-not-available"))
        else:
            await self._tell(ears.error("unknown engine", "unknown-engine"))

    async def _restart(self) -> None:
        await self._finish_stream()
        if self._outcome.done():
            return  # the old session broke; there is no next one
        self._paused = False
        self._detected = None
        await self._publish(ears.engine_changed())

    def _open(self) -> Stream:
        self._stream = self._engine.open(SessionOptions(live_words=True, language=self._hint))
        self._counters.sessions += 1
        self._relay = self._tasks.create_task(self._relay_events(self._stream))
        return self._stream

    async def _relay_events(self, stream: Stream) -> None:
        try:
            async for event in stream.events():
                if isinstance(event, Language):
                    self._detected = event.code
                for message in ears.encode_event(
                    event,
                    timestamps=self._config.timestamps,
                    vad=self._config.vad,
                    unix_time=self._unix_time(),
                ):
                    await self._publish(message)
        except EarsEdgeError as exc:
            self._fail(exc)
            return
        if not self._finishing:
            self.end(Ending(NORMAL, "the session is as long as one may be"))

    async def _finish_stream(self) -> bool:
        """End the session in good order, if there is one: its last words and its `final` go out."""
        if self._stream is None or self._relay is None:
            return False
        self._stall_at = None
        self._finishing = True
        with suppress(EarsEdgeError):  # `_relay_events` meets it, too
            await self._stream.finish()
        await asyncio.wait({self._relay})
        await self._stream.close()
        self._stream = self._relay = None
        self._finishing = False
        return True

    async def _wind_up(self) -> None:
        """Send the final, if anyone is left who may read it. What the client still sends is dropped."""
        reading = self._tasks.create_task(self._peer.discard())
        finishing = self._tasks.create_task(self._send_final())
        await asyncio.wait({reading, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done() and not self._registry.is_heard(self._stream_id):
            finishing.cancel()
        await asyncio.wait({finishing})
        reading.cancel()

    async def _send_final(self) -> None:
        if not await self._finish_stream():
            await self._publish(ears.final(()))

    async def _publish(self, message: str) -> None:
        """To the stream's listeners and the client."""
        self._registry.publish(self._stream_id, message)
        await self._tell(message)

    async def _tell(self, message: str) -> None:
        """To the client alone. Does nothing once it is gone."""
        if self._client_gone:
            return
        try:
            await self._peer.send(message)
        except PeerGoneError:
            self._lose_client()

    def _lose_client(self) -> None:
        self._client_gone = True
        self.end(Ending(GONE, orderly=self._registry.is_heard(self._stream_id)))

    def _fail(self, exc: EarsEdgeError) -> None:
        """The stream can't go on, or could not begin. Whoever meets it first tells it, also after a stop."""
        if self._broken is not None:
            return
        if isinstance(exc, OverloadedError):
            self._counters.refused_busy += 1
            self._log.info("refused: %s", exc)
            text = BUSY if exc.code == OverloadedError.default_code else f"server busy - {exc}"
            self._broken = Ending(TRY_LATER, exc.code, notice=ears.error(text, exc.code))
        elif isinstance(exc, PeerProtocolError | UnsupportedError):
            self._log.info("%s (%s)", exc, exc.code)
            self._broken = Ending(POLICY, exc.code, notice=ears.error(str(exc), exc.code))
        else:
            # The engine itself logs what fails in a decode.
            level = logging.INFO if isinstance(exc, InferenceError) else logging.ERROR
            self._log.log(level, "the session broke: %s (%s)", exc, exc.code)
            self._broken = Ending(INTERNAL, exc.code, notice=ears.error("internal server error", exc.code))
        self.end(self._broken)


async def _until_cancelled() -> NoReturn:
    """The role is over, and its `run` is about to cancel us: read no further."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody sets this future")
