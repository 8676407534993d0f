"""The listener role: a client that reads other clients' streams."""

import asyncio
from dataclasses import replace
from typing import Final, assert_never

from ears_edge.config import EarsConfig
from ears_edge.errors import OverloadedError, PeerProtocolError, UnsupportedError
from ears_edge.servers.ears_role import (
    GONE,
    POLICY,
    TRY_LATER,
    ConnectionLog,
    EarsCounters,
    Ending,
    Role,
)
from ears_edge.servers.listeners import Outbox, StreamRegistry
from ears_edge.servers.peer import Peer, PeerGoneError
from ears_edge.tokens import is_one_of
from ears_edge.wire import ears

MODE_OFF: Final = ears.error(
    "listener mode is off; set ears.enable_listener_mode = true", "listener-mode-off"
)
"""How every listener is met while the settings allow none."""


class ListenerRole(Role[Ending]):
    """One listener. All that it is sent goes through its outbox, so that it comes in order."""

    def __init__(
        self,
        peer: Peer,
        registry: StreamRegistry,
        config: EarsConfig,
        *,
        counters: EarsCounters,
        log: ConnectionLog,
    ) -> None:
        super().__init__(peer, counters, log)
        self._registry = registry
        self._config = config
        self._outbox = Outbox(self._on_full)
        self._authenticated = False
        self._failures = 0

    async def run(self, first: str | ears.Authenticate) -> Ending:
        """Serve until there is a reason to end; the caller closes the connection with it."""
        self._counters.listeners += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(first))
                writer = tasks.create_task(self._write())
                ending = await self._outcome
                reader.cancel()
                await asyncio.wait({reader})
                if ending.notice is not None:
                    self._outbox.put(ending.notice)
                self._outbox.close()
                if ending.orderly:
                    reading = tasks.create_task(self._peer.discard())
                    await asyncio.wait({writer})
                    reading.cancel()
                writer.cancel()
        finally:
            self._registry.unsubscribe(self._outbox)
        return ending

    async def _read(self, first: str | ears.Authenticate) -> None:
        message: str | bytes | ears.Authenticate = first
        try:
            while True:
                self._answer(message)
                message = await self._peer.receive()
        except PeerGoneError:
            self.end(Ending(GONE))

    async def _write(self) -> None:
        try:
            while (message := await self._outbox.get()) is not None:
                await self._peer.send(message)
        except PeerGoneError:
            self.end(Ending(GONE))

    def _answer(self, message: str | bytes | ears.Authenticate) -> None:
        try:
            self._carry_out(_listener_command(message))
        except PeerProtocolError as exc:
            refusal = self._refusal(exc)
            if isinstance(refusal, Ending):
                self.end(replace(refusal, orderly=True))
            else:
                self._outbox.put(refusal)

    def _carry_out(self, command: ears.ListenerCommand) -> None:
        match command:
            case ears.Authenticate(token):
                self._authenticate(token)
            case ears.ListStreams() | ears.Subscribe() if not self._authenticated:
                self._outbox.put(ears.error("not authenticated", "not-authenticated"))
            case ears.ListStreams():
                self._outbox.put(ears.streams(self._registry.stream_ids()))
            case ears.Subscribe(stream_id):
                self._subscribe(stream_id)
            case _:
                assert_never(command)

    def _authenticate(self, token: str) -> None:
        if is_one_of(token, self._config.listener_tokens):
            self._authenticated = True
            self._outbox.put(ears.authenticated())
            return
        self._failures += 1
        self._counters.failed_authentications += 1
        self._log.info("a listener showed a wrong token (%d)", self._failures)
        answer = ears.error("invalid token", "invalid-token")
        if self._failures < self._config.max_authentication_failures:
            self._outbox.put(answer)
        else:
            self.end(Ending(POLICY, "too many wrong tokens", orderly=True, notice=answer))

    def _subscribe(self, stream_id: int) -> None:
        try:
            self._registry.subscribe(stream_id, self._outbox)
        except (UnsupportedError, OverloadedError) as exc:
            self._outbox.put(ears.error(f"subscription failed: {exc}", exc.code))
        else:
            self._outbox.put(ears.subscribed(stream_id))

    def _on_full(self) -> None:
        self._counters.slow_listeners += 1
        self._log.info("dropped: it reads too slowly")
        self.end(Ending(TRY_LATER, "reads too slowly"))


def _listener_command(message: str | bytes | ears.Authenticate) -> ears.ListenerCommand:
    command = ears.decode_command(message) if isinstance(message, str) else message
    if isinstance(command, ears.ListenerCommand):
        return command
    raise PeerProtocolError("bad-message: this connection listens; speak on another one", code="wrong-role")
