"""The eaRS WebSocket server: accepts connections, finds out their role, and closes them in good order."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import State

from ears_edge.config import EarsConfig
from ears_edge.errors import PeerProtocolError
from ears_edge.servers.ears_listener import MODE_OFF, ListenerRole
from ears_edge.servers.ears_role import (
    GOING_AWAY,
    GONE,
    INTERNAL,
    POLICY,
    ConnectionLog,
    EarsCounters,
    Ending,
)
from ears_edge.servers.ears_session import BUSY, ActiveRole, Outcome
from ears_edge.servers.engine_port import Engine
from ears_edge.servers.listeners import StreamRegistry
from ears_edge.servers.listening import Keys, listen
from ears_edge.servers.origin import origin_allowed, own_host_names
from ears_edge.servers.peer import CLOSE_TIMEOUT_S, WRITE_LIMIT_BYTES, BoundedConnection, Peer, PeerGoneError
from ears_edge.wire import ears

if TYPE_CHECKING:
    from ears_edge.servers.plain_http import Page

HANDSHAKES_BESIDES: Final = 64
"""Connections in their opening handshake that are kept beside `ears.max_connections` open ones."""

FRAMES_QUEUED: Final = 1
"""Frames that may wait behind the message in hand. A frame may be as long as a message, so it is few."""

LAST_WORDS_S: Final = 1.0
"""After the grace of a shutdown: time for what is closing to close."""

logger = logging.getLogger(__name__)

_library_logger = logging.getLogger(f"{__name__}.websocket")
_library_logger.setLevel(logging.CRITICAL)
"""`websockets` logs what peers do wrong, and at DEBUG every frame, tokens included. We log the rest."""

_KEYS: Final = Keys(host="ears.host", port="ears.port")
_SHUTTING_DOWN: Final = Ending(GOING_AWAY, "the server is shutting down", orderly=True)

Role: TypeAlias = ActiveRole | ListenerRole


class EarsServer:
    """Serves eaRS clients from `start` to `close`; also an async context manager.

    Nothing that one client does ends the server or costs another client more than its share.
    """

    def __init__(
        self, config: EarsConfig, engine: Engine, *, unix_time: Callable[[], float] = time.time
    ) -> None:
        self.counters: Final = EarsCounters()
        self.pages: Final[dict[str, Page]] = {}
        """What is answered to plain HTTP, by its path."""
        self._config = config
        self._engine = engine
        self._unix_time = unix_time
        self._registry = StreamRegistry(max_listeners=config.max_listeners_per_stream)
        self._own_names = own_host_names(socket.gethostname())
        self._servers: list[Server] = []
        self._live: set[BoundedConnection] = set()
        self._handlers: dict[asyncio.Task[None], Role | None] = {}
        self._closing = asyncio.Event()

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of each listening socket; empty unless started."""
        return tuple(sock.getsockname()[:2] for server in self._servers for sock in server.sockets)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: `ears.host` or `ears.port` can't be listened on.
        """

        class Connection(BoundedConnection):
            live = self._live
            most = self._config.max_connections + HANDSHAKES_BESIDES

        for sock in await listen(self._config.host, self._config.port, _KEYS):
            self._servers.append(
                await serve(
                    self._handle,
                    sock=sock,
                    create_connection=Connection,
                    process_request=self._check,
                    compression=None,
                    max_size=self._config.max_message_bytes,
                    max_queue=FRAMES_QUEUED,
                    write_limit=WRITE_LIMIT_BYTES,
                    open_timeout=self._config.handshake_timeout_s,
                    close_timeout=CLOSE_TIMEOUT_S,
                    ping_interval=None,  # `BoundedConnection` says why
                    server_header=None,
                    logger=_library_logger,
                )
            )

    async def close(self, grace_s: float = 5.0) -> None:
        """Stop accepting, give sessions `grace_s` to send their final text, then close all. Idempotent."""
        ends_at = asyncio.get_running_loop().time() + grace_s
        self._closing.set()
        for server in self._servers:
            server.close(close_connections=False)
        for connection in tuple(self._live):
            if connection.state is State.CONNECTING:
                connection.transport.abort()
        for kind in (ActiveRole, ListenerRole):  # listeners get the finals that the sessions still send
            for role in tuple(self._handlers.values()):
                if isinstance(role, kind):
                    role.end(_SHUTTING_DOWN)
            await self._wait_for(
                [task for task, role in self._handlers.items() if isinstance(role, kind)], ends_at
            )
        await self._wait_for(list(self._handlers), ends_at)
        for task in tuple(self._handlers):
            task.cancel()
        await self._wait_for(list(self._handlers), asyncio.get_running_loop().time() + LAST_WORDS_S)
        for connection in tuple(self._live):
            connection.transport.abort()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _wait_for(self, tasks: list[asyncio.Task[None]], ends_at: float) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, ends_at - asyncio.get_running_loop().time()))

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the upgrade: may this page connect, and is there room?"""
        origins = request.headers.get_all("Origin")
        allowed = self._config.allowed_origins
        if len(origins) > 1 or not origin_allowed(
            origins[0] if origins else None, own_names=self._own_names, allowed=allowed
        ):
            self.counters.refused_origins += 1
            logger.info("refused a web page of origin %.200r; ears.allowed_origins may list it", origins)
            return connection.respond(
                HTTPStatus.FORBIDDEN, "This web page may not use this server; see ears.allowed_origins.\n"
            )
        page = self.pages.get(request.path)
        if page is not None and "Upgrade" not in request.headers:
            return page().response(connection)
        if sum(other.state is State.OPEN for other in self._live) >= self._config.max_connections:
            self.counters.refused_busy += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{BUSY}\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        self.counters.connections += 1
        log = ConnectionLog(logger, {"number": self.counters.connections})
        peer = Peer(connection, send_timeout_s=self._config.send_timeout_s)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a handler runs as a task")
        self._handlers[task] = None
        log.debug("from %s", connection.remote_address)
        try:
            ending = await self._serve(peer, task, log)
            log.info("closed: %d%s", ending.code, f", {ending.reason}" if ending.reason else "")
            if ending.code != GONE:
                await peer.close(ending.code, ending.reason)
        except PeerGoneError as exc:
            log.debug("gone: %s", exc)
        except Exception:
            log.exception("a defect of ours ended it")
            await peer.close(INTERNAL, "internal server error")
        finally:
            peer.abort()
            del self._handlers[task]

    async def _serve(self, peer: Peer, task: asyncio.Task[None], log: ConnectionLog) -> Ending:
        """The first message decides the role; an active client may turn listener until it sends audio."""
        first = await self._first_message(peer)
        if isinstance(first, Ending):
            return first
        outcome: Outcome | str
        if isinstance(first, bytes) or not _is_for_listener(first):
            active = ActiveRole(
                peer,
                self._engine,
                self._registry,
                self._config,
                counters=self.counters,
                unix_time=self._unix_time,
                log=log,
            )
            self._handlers[task] = active
            outcome = await active.run(first)
            if isinstance(outcome, Ending):
                return outcome
        else:
            outcome = first
        if self._closing.is_set():
            return _SHUTTING_DOWN
        if not self._config.enable_listener_mode:
            await peer.send(MODE_OFF)
            return Ending(POLICY, "listener mode is off")
        listener = ListenerRole(peer, self._registry, self._config, counters=self.counters, log=log)
        self._handlers[task] = listener
        return await listener.run(outcome)

    async def _first_message(self, peer: Peer) -> str | bytes | Ending:
        timeout_s = self._config.first_message_timeout_s
        receiving = asyncio.create_task(peer.receive(asyncio.get_running_loop().time() + timeout_s))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({receiving, closing}, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                return _SHUTTING_DOWN
            return receiving.result()
        except TimeoutError:
            return Ending(POLICY, f"no message for {timeout_s:g} s")
        finally:
            receiving.cancel()
            closing.cancel()
            await asyncio.wait({receiving, closing})


def _is_for_listener(text: str) -> bool:
    try:
        return isinstance(ears.decode_command(text), ears.ListenerCommand)
    except PeerProtocolError:
        return False
