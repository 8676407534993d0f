"""A Wyoming client: one utterance over TCP or a Unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from ears_edge.audio.files import AudioSource
from ears_edge.audio.pcm import PcmFormat, decode, encode_s16
from ears_edge.clients.exchange import (
    CONNECT_TIMEOUT_S,
    SEND_TIMEOUT_S,
    Exchange,
    Pace,
    Progress,
    Said,
    gone,
    no_answer,
    paced,
    refused,
    stuck,
    unreachable,
)
from ears_edge.errors import PeerProtocolError, ServerError
from ears_edge.transcript import Transcript
from ears_edge.units import samples
from ears_edge.uri import TcpAddress, WyomingAddress
from ears_edge.wire import wyoming_client as wire

READ_BYTES: Final = 65_536


class WyomingClient:
    """Sends one source, waits for its text. Wyoming tells no word times, so there are no segments."""

    def __init__(self, address: WyomingAddress, source: AudioSource, language: str | None) -> None:
        self._address = address
        self._source = source
        self._language = language
        self._exchange = Exchange(str(address))
        self._sent_s = 0.0

    async def transcribe(self, pace: Pace, progress: Progress, said: Said) -> Transcript:
        """Send the source, and wait for the text.

        Raises:
            ServerError: The server can't be reached, went away, hung, or answered with an error.
        """
        async with _connection(self._address) as (reader, writer):
            answer = await self._exchange.run(self._send(writer, pace, progress), self._receive(reader, said))
        return Transcript(
            text=answer.text,
            language=answer.language or self._language,
            duration=samples(self._sent_s),
            segments=None,
        )

    async def _send(self, writer: asyncio.StreamWriter, pace: Pace, progress: Progress) -> None:
        source = self._source
        # 16-bit PCM goes as it is. A server need not know another width: all the rest becomes 16-bit mono.
        as_is = source.fmt == PcmFormat(source.fmt.rate, 2, source.fmt.channels)
        fmt = source.fmt if as_is else PcmFormat(source.fmt.rate, 2, 1)
        await self._write(writer, wire.begin(fmt, self._language))
        async for block in paced(source, pace, progress):
            pcm = block if as_is else encode_s16(decode(block, source.fmt))
            await self._write(writer, wire.audio_chunk(pcm, fmt))
            self._sent_s += fmt.seconds(len(pcm))
        await self._write(writer, wire.audio_stop())

    async def _write(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        writer.write(message)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S) as limit:
                await writer.drain()
        except OSError as exc:  # TimeoutError is one
            if limit.expired():
                raise stuck(str(self._address)) from exc
            raise ConnectionResetError(str(exc)) from exc

    async def _receive(self, reader: asyncio.StreamReader, said: Said) -> wire.Transcript:
        frames = wire.reader()
        try:
            while True:
                while (frame := frames.next_frame()) is not None:
                    self._exchange.heard_from()
                    match wire.decode_answer(frame):
                        case wire.Transcript() as transcript:
                            return transcript
                        case wire.TranscriptChunk(text=text):
                            said(text)
                        case wire.Error(text=text, code=code):
                            raise refused(str(self._address), text, code)
                        case None:
                            pass
                frames.receive(await self._read(reader))
        except PeerProtocolError as exc:
            raise ServerError(
                f"{self._address} does not answer as a Wyoming server: {exc}", code="server-protocol"
            ) from exc

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            block = await reader.read(READ_BYTES)
        except OSError as exc:
            raise gone(str(self._address)) from exc
        if not block:
            raise gone(str(self._address))
        return block


@asynccontextmanager
async def _connection(
    address: WyomingAddress,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S) as limit:
            if isinstance(address, TcpAddress):
                reader, writer = await asyncio.open_connection(address.host, address.port)
            else:
                reader, writer = await asyncio.open_unix_connection(address.path)
    except (OSError, UnicodeError) as exc:  # TimeoutError is an OSError; a host name may not be one
        raise unreachable(str(address), no_answer(exc, limit)) from exc
    try:
        yield reader, writer
    finally:
        # What was not sent is not wanted any more.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
