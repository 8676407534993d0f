"""A WebSocket client by hand, for what no library will send."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.servers.ears_rig import PATIENCE_S

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)
HANDSHAKE = UPGRADE + b"\r\n"

CONT, TEXT, BINARY, CLOSE, PING = 0x0, 0x1, 0x2, 0x8, 0x9
FIN = 0x80


def frame(first_byte: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None) -> bytes:
    """One frame, as its first byte and its payload say; `length` is what it claims to hold."""
    size = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first_byte, mask_bit | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first_byte, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first_byte, mask_bit | 127, size)
    return head + (bytes(4) if masked else b"") + payload


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self.writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                await self.writer.drain()

    async def upgrade(self) -> None:
        await self.send(HANDSHAKE)
        assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")

    async def rest(self) -> bytes:
        """All that the server still sends; it has to close."""
        received = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while data := await self.reader.read(65_536):
                    received += data
        return received

    async def close_code(self) -> int | None:
        """The code in the server's Close frame, which has to come last; None if it closes without one."""
        received = await self.rest()
        at, code = 0, None
        while at < len(received):
            size, start = received[at + 1], at + 2
            if size == 126:
                size, start = struct.unpack_from("!H", received, at + 2)[0], at + 4
            if received[at] == FIN | CLOSE:
                code = struct.unpack_from("!H", received, start)[0]
            at = start + size
        return code


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
