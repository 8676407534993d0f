"""One client's byte stream: bounded reads, a write buffer that never grows, time limits, a clean end."""

import asyncio
import contextlib
from typing import Final

READ_BYTES: Final = 32 * 1024
"""Most bytes that one read takes: a second of 16-bit audio at 16 kHz, and few events, so that a client that
floods takes turns with the others."""

LINGER_S: Final = 2.0
"""After an error the client has this long to read it and to hang up. Were the connection closed with bytes
of the client's unread, TCP would throw the error away. Source: RFC 9112, section 9.6."""


class Channel:
    """Reads and writes of one connection. Every failure of the transport is a ConnectionError."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        send_timeout_s: float,
        source: asyncio.BaseTransport | None = None,
    ) -> None:
        """Take over the stream.

        Args:
            reader: The client's bytes.
            writer: Where answers go.
            send_timeout_s: A client that takes nothing for this long is dropped.
            source: The reader's transport, if it is not the writer's too (two pipes).
        """
        self._reader = reader
        self._writer = writer
        self._source = source
        self._send_timeout_s = send_timeout_s
        # `drain()` then waits until the kernel has everything: what waits here is one message a task at most.
        writer.transport.set_write_buffer_limits(high=0)

    async def read(self) -> bytes:
        """The next bytes, 1 to READ_BYTES; empty at the end of the stream.

        Raises:
            ConnectionError: The connection is lost.
        """
        # A read that finds bytes in the buffer does not let others run.
        await asyncio.sleep(0)
        try:
            return await self._reader.read(READ_BYTES)
        except OSError as exc:
            raise ConnectionResetError(str(exc)) from exc

    async def send(self, message: bytes) -> None:
        """Write one message whole; returns when the system has taken it.

        Raises:
            ConnectionError: The connection is lost, or the client took nothing for `send_timeout_s`; then the
                connection is cut.
        """
        self._writer.write(message)
        try:
            async with asyncio.timeout(self._send_timeout_s) as limit:
                await self._writer.drain()
        except OSError as exc:  # TimeoutError is one
            self.abort()
            if limit.expired():
                raise ConnectionAbortedError(f"took nothing for {self._send_timeout_s:g} s") from exc
            raise ConnectionResetError(str(exc)) from exc

    def send_nowait(self, message: bytes) -> None:
        """Write a last message as far as the system takes it at once; for a connection that is being cut."""
        if not self._writer.transport.get_write_buffer_size():
            self._writer.write(message)

    def abort(self) -> None:
        """Cut the connection; what was not sent is dropped."""
        # The transport of a pipe that is lost already can't be aborted.
        if not self._writer.transport.is_closing():
            self._writer.transport.abort()

    async def close(self, *, linger: bool = False) -> None:
        """Close, after the client has hung up or LINGER_S if `linger`. Never raises but when cancelled."""
        try:
            if linger and self._source is None:  # pipes lose nothing
                await self._linger()
        finally:
            # All was sent, or is not wanted any more: nothing to wait for.
            self.abort()
            if self._source is not None:
                self._source.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    async def _linger(self) -> None:
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(LINGER_S):
                self._writer.write_eof()
                while await self.read():
                    pass
