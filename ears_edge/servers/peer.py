"""One WebSocket client, with a bound on everything it can make us keep or wait for."""

import asyncio
from typing import ClassVar, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from ears_edge.servers.listening import keep_alive

CLOSE_TIMEOUT_S: Final = 5.0
"""A client that does not answer a Close for this long loses its TCP connection."""

READ_BYTES: Final = 1_024
"""Taken at once: at most 170 empty frames, so that a client that floods takes turns with the others.
Those in the 256 KiB that asyncio takes would hold the event loop for a second."""

WRITE_LIMIT_BYTES: Final = 65_536
"""Unsent bytes beyond which sending waits for the client to read."""

MAX_UNREAD_PONG_BYTES: Final = 262_144
"""Answers to pings that a client may leave unread; they are sent without waiting, so they need a bound."""

_MAX_REASON_BYTES: Final = 123
"""Source: RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code."""


class PeerGoneError(Exception):
    """The client has closed, vanished, or taken nothing for too long. Nothing more can be sent to it."""


class BoundedConnection(ServerConnection, asyncio.BufferedProtocol):
    """A connection that no unfriendly or broken client can keep open, fill up, or hold the event loop with.

    Dead hosts are found by TCP keepalive, not by WebSocket pings: eaRS's server sends no pings, a client that
    only sends while it streams would be cut for not answering, and while we hold back a client's audio its
    pongs queue up behind that audio. The kernel answers TCP's probes in all these cases.
    """

    live: ClassVar[set["BoundedConnection"]]
    """Every connection of the server, those still in the handshake included. A server's subclass sets it."""
    most: ClassVar[int]
    """How many `live` may hold; one more is dropped unheard."""

    _abort_timer: asyncio.TimerHandle | None = None
    _unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Also: count it, and find dead hosts."""
        super().connection_made(transport)
        self._incoming = bytearray(READ_BYTES)
        self.live.add(self)
        keep_alive(transport.get_extra_info("socket"))
        if len(self.live) > self.most:
            self.transport.abort()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes go; being asked is what makes READ_BYTES hold."""
        del sizehint
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        self.data_received(bytes(memoryview(self._incoming)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Also: bound the answers to pings, and the time a closing client may take."""
        before = self.transport.get_write_buffer_size()
        super().data_received(data)
        after = self.transport.get_write_buffer_size()
        self._unread_bytes = self._unread_bytes + after - before if after else 0
        if self._unread_bytes > MAX_UNREAD_PONG_BYTES:
            self.transport.abort()
        elif self._abort_timer is None and self.protocol.close_expected():
            self._abort_timer = self.loop.call_later(CLOSE_TIMEOUT_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Also: forget it."""
        self.live.discard(self)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)


class Peer:
    """What a role needs of a connection: receive, send, close. One task receives; any may send."""

    def __init__(self, connection: ServerConnection, *, send_timeout_s: float) -> None:
        self._connection = connection
        self._send_timeout_s = send_timeout_s

    async def receive(self, deadline: float | None = None) -> str | bytes:
        """The next message. Cancelling it loses nothing.

        Args:
            deadline: On the event loop's clock; None waits for ever.

        Raises:
            TimeoutError: No message by then.
            PeerGoneError: The client has closed or vanished, or broke WebSocket's rules.
        """
        await asyncio.sleep(0)  # a flood of small messages must not hold the event loop
        async with asyncio.timeout_at(deadline):
            try:
                return await self._connection.recv()
            except ConnectionClosed as exc:
                raise PeerGoneError(str(exc)) from exc

    async def send(self, text: str) -> None:
        """Send one text message; waits while the client does not read.

        Raises:
            PeerGoneError: The client is gone, or has taken nothing for the send timeout and was dropped.
        """
        if self._connection.state is not State.OPEN:
            raise PeerGoneError("it is closing")  # `websockets` would wait until it has closed
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._connection.send(text)
        except ConnectionClosed as exc:
            raise PeerGoneError(str(exc)) from exc
        except TimeoutError as exc:
            self.abort()
            raise PeerGoneError(f"took nothing for {self._send_timeout_s:g} s") from exc

    async def discard(self) -> None:
        """Read and drop messages until the client is gone: it may then finish sending, and see our Close."""
        try:
            while True:
                await self.receive()
        except PeerGoneError:
            return

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye and see the TCP connection closed, within twice `CLOSE_TIMEOUT_S`. Never raises."""
        reading = asyncio.create_task(self.discard())
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await self._connection.close(code, _fit(reason))
        except TimeoutError:
            pass  # it does not even read; see below
        finally:
            reading.cancel()
            self.abort()
            await asyncio.wait({reading})

    def abort(self) -> None:
        """Close the TCP connection now. Harmless if it is closed."""
        self._connection.transport.abort()


def _fit(reason: str) -> str:
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
