"""The daemon's end of the control socket: tells the status, and takes the name of another model."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from ears_edge.control import ENDS, KEY, MAX_LINE_BYTES
from ears_edge.errors import ConfigError, EarsEdgeError, PeerProtocolError
from ears_edge.models.status import ModelStatus
from ears_edge.servers.unix_socket import bind, inode, remove
from ears_edge.typed import ShapeError, parse_json_object, to_json

MAX_CONNECTIONS: Final = 8
"""More at once are cut."""
REQUEST_S: Final = 10.0
"""A request comes within this."""
FOLDER_MODE: Final = 0o700
"""Of a folder that we make for the socket."""

logger = logging.getLogger(__name__)


class Wishes(Protocol):
    """What is asked and told over the socket."""

    @property
    def status(self) -> ModelStatus:
        """How it stands."""

    def change(self) -> Awaitable[object]:
        """What ends when that changes from what it is at this call."""

    async def use(self, name: str, /) -> Callable[[], bool]:
        """Want a model; gives what tells whether the wish is still the newest.

        Raises:
            EarsEdgeError: There is no such model.
        """


class ControlServer:
    """Listens from `start` to `close`. Who may open the socket's file may use it."""

    def __init__(self, path: Path, wishes: Wishes) -> None:
        self._path = path
        self._wishes = wishes
        self._server: asyncio.Server | None = None
        self._file: tuple[int, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Never fails: the daemon is of use without."""
        try:
            await asyncio.to_thread(self._path.parent.mkdir, FOLDER_MODE, parents=True, exist_ok=True)
            bound = await asyncio.to_thread(bind, self._path, KEY)
        except (ConfigError, OSError) as exc:
            logger.warning("`ears-edge models use` can't reach this daemon: %s", exc)
            return
        self._file = await asyncio.to_thread(inode, self._path)
        # Given a socket, asyncio leaves the file to us.
        self._server = await asyncio.start_unix_server(self._admit, sock=bound, limit=MAX_LINE_BYTES)

    async def close(self, grace_s: float = 0.0, /) -> None:  # noqa: ARG002  # as every server has it
        """End all connections. Idempotent."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        await asyncio.to_thread(remove, self._path, self._file)
        self._file = None

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="control")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                await self._answer(reader, writer)
            except EarsEdgeError as exc:
                _send(writer, {"type": "error", "text": str(exc), "code": exc.code})
            await writer.drain()
        except ConnectionError:
            logger.debug("a command has gone before it was answered")
        except Exception:
            logger.exception("a defect of ours ended a command")
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = parse_json_object(await reader.readline())
        except (TimeoutError, ValueError) as exc:  # a line that is too long; ShapeError is a ValueError
            reason = exc if isinstance(exc, ShapeError) else "one line of JSON was to come"
            raise PeerProtocolError(f"bad-message: {reason}") from exc
        match request:
            case {"type": "status"}:
                _send_status(writer, self._wishes.status)
            case {"type": "use", "name": str(name)}:
                await self._use(name, reader, writer)
            case _:
                raise PeerProtocolError("bad-message: no such request", code="unknown-type")

    async def _use(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        newest = await self._wishes.use(name)
        gone = asyncio.create_task(reader.read())  # until the end: nothing more is expected
        change: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        try:
            while not gone.done():
                change = asyncio.ensure_future(self._wishes.change())  # before we look: none is missed
                status = self._wishes.status
                if not newest():
                    raise PeerProtocolError(f"another model than {name} is wanted now", code="superseded")
                _send_status(writer, status)
                await writer.drain()
                if status.phase in ENDS:
                    return
                await asyncio.wait({gone, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
        finally:
            for task in (gone, change):
                task.cancel()


def _send_status(writer: asyncio.StreamWriter, status: ModelStatus) -> None:
    _send(writer, {"type": "status", **parse_json_object(to_json(status))})


def _send(writer: asyncio.StreamWriter, answer: dict[str, object]) -> None:
    writer.write(to_json(answer).encode() + b"\n")
