"""The Wyoming server: listens, admits connections, and ends them in good order."""

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from ears_edge.config import WyomingConfig
from ears_edge.servers.engine_port import Engine
from ears_edge.servers.listening import Keys, keep_alive, listen
from ears_edge.servers.unix_socket import bind, inode, remove
from ears_edge.servers.wyoming_channel import READ_BYTES, Channel
from ears_edge.servers.wyoming_connection import Connection
from ears_edge.servers.wyoming_stdio import open_channel, restore
from ears_edge.uri import LISTEN_KEY, StdioAddress, TcpAddress, UnixAddress, listen_address
from ears_edge.wire import wyoming

if TYPE_CHECKING:
    from ears_edge.models.folder import ModelInfo
    from ears_edge.models.status import ModelStatus

_Processed: TypeAlias = tuple[str, MutableMapping[str, object]]

MAX_REFUSALS: Final = 32
"""Connections over the limit that are told so at a time; more are cut without a word."""

logger = logging.getLogger(__name__)


class WyomingServer:
    """Serves the engine at `config.uri`. An async context manager, or `start()` and `close()`.

    Over stdio it serves one connection and is then done; `wait_done()` tells.
    """

    def __init__(
        self, config: WyomingConfig, engine: Engine, *, stdio: tuple[int, int] | None = None
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            config: Where to listen, and the limits.
            engine: What hears.
            stdio: Descriptors to read and to write for `stdio://`; None for the process's own.

        Raises:
            ConfigError: `config.uri` can't be read.
        """
        self._config = config
        self._engine = engine
        self._address = listen_address(config.uri)
        self._stdio = stdio
        self._servers: list[asyncio.Server] = []
        self._addresses: tuple[str, ...] = ()
        self._socket_file: tuple[int, int] | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._refusals: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._info: tuple[tuple[ModelInfo, ModelStatus], bytes] | None = None
        self._done = asyncio.Event()
        self._closing = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """What it listens on, as URIs with the real ports; empty before `start()` and after `close()`."""
        return self._addresses

    @property
    def over_stdio(self) -> bool:
        """Whether it serves standard input and output, and is thus done when these end."""
        return isinstance(self._address, StdioAddress)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen; returns at once.

        Raises:
            ConfigError: The address is taken, or can't be used.
        """
        match self._address:
            case TcpAddress(host, port):
                sockets = await listen(host, port, Keys(LISTEN_KEY, LISTEN_KEY))
                for bound in sockets:
                    await self._accept_on(bound)
                self._addresses = tuple(str(TcpAddress(*bound.getsockname()[:2])) for bound in sockets)
            case UnixAddress(path):
                bound = await asyncio.to_thread(bind, path)
                self._socket_file = await asyncio.to_thread(inode, path)
                await self._accept_on(bound)  # given a socket, asyncio leaves the file to us
                self._addresses = (str(self._address),)
            case StdioAddress():
                self._stdio = self._stdio or (0, 1)
                self._serve(await open_channel(*self._stdio, send_timeout_s=self._config.send_timeout_s))
                self._addresses = (str(self._address),)

    async def wait_done(self) -> None:
        """Return after `close()`; over stdio also once the input has ended and all is answered."""
        await self._done.wait()

    async def close(self, grace: float = 0.0) -> None:
        """Take no more connections; end those that are open. Idempotent.

        Args:
            grace: Seconds that utterances at hand get to be completed; then they are cut.
        """
        self._closing = True
        for server in self._servers:
            server.close()
        for connection in self._connections.values():
            connection.retire()
        if self._connections and grace > 0:
            await asyncio.wait(self._connections, timeout=grace)
        for connection in self._connections.values():
            connection.cut()
        for refusal in self._refusals:
            refusal.cancel()
        if rest := {*self._connections, *self._refusals}:
            await asyncio.wait(rest)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        if isinstance(self._address, UnixAddress) and self._socket_file is not None:
            await asyncio.to_thread(remove, self._address.path, self._socket_file)
            self._socket_file = None
        self._addresses = ()
        self._done.set()

    async def _accept_on(self, bound: socket.socket) -> None:
        self._servers.append(await asyncio.start_server(self._admit, sock=bound, limit=READ_BYTES))

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep_alive(writer.get_extra_info("socket"))
        channel = Channel(reader, writer, send_timeout_s=self._config.send_timeout_s)
        if self._closing:
            channel.abort()
        elif len(self._connections) < self._config.max_connections:
            self._serve(channel)
        elif len(self._refusals) < MAX_REFUSALS:
            refusal = asyncio.get_running_loop().create_task(self._refuse(channel), name="wyoming refusal")
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)
        else:
            channel.abort()

    def _serve(self, channel: Channel) -> None:
        name = f"wyoming-{next(self._numbers)}"
        log = _Named(name)
        connection = Connection(channel, self._engine, self._config, self._encoded_info, log)
        task = asyncio.get_running_loop().create_task(connection.run(), name=name)
        self._connections[task] = connection
        task.add_done_callback(self._ended)
        log.debug("connected")

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if isinstance(self._address, StdioAddress) and self._stdio is not None:
            restore(*self._stdio)
            self._done.set()

    async def _refuse(self, channel: Channel) -> None:
        logger.info("refused: %d connections are open", len(self._connections))
        try:
            text = f"This server has {self._config.max_connections} connections open, its limit. Try later."
            with contextlib.suppress(ConnectionError):
                await channel.send(wyoming.error(text, "busy"))
        finally:
            await channel.close(linger=True)

    def _encoded_info(self) -> bytes:
        now = self._engine.model, self._engine.status
        if self._info is None or self._info[0] != now:
            self._info = now, wyoming.info(*now)
        return self._info[1]


class _Named(logging.LoggerAdapter[logging.Logger]):
    """Puts the connection's name in front of what is logged."""

    def __init__(self, name: str) -> None:
        super().__init__(logger)
        self._name = name

    def process(self, msg: object, kwargs: MutableMapping[str, object]) -> _Processed:
        return f"{self._name}: {msg}", kwargs
