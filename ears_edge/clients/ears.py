"""An eaRS client: one session over a WebSocket, as float32 at 24 kHz."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ears_edge.audio.converter import Converter
from ears_edge.audio.files import AudioSource
from ears_edge.audio.pcm import encode_f32
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
from ears_edge.units import F32, samples
from ears_edge.uri import WebSocketAddress
from ears_edge.wire import ears_client as wire

RATE: Final = 24_000
"""Hz. Source: EARS_PROTOCOL.md 3.1; byteowlz/eaRS src/server.rs, decode_audio_chunk."""
CLOSE_TIMEOUT_S: Final = 2.0


class EarsClient:
    """Sends one source and waits for the final text."""

    def __init__(self, address: WebSocketAddress, source: AudioSource, language: str | None) -> None:
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
        async with _connection(self._address) as socket:
            return await self._exchange.run(self._send(socket, pace, progress), self._receive(socket, said))

    async def _send(self, socket: ClientConnection, pace: Pace, progress: Progress) -> None:
        if self._language is not None:
            await self._write(socket, wire.set_language(self._language))
        converter = Converter(RATE)
        async for block in paced(self._source, pace, progress):
            await self._write_audio(socket, converter.feed(block, self._source.fmt))
            self._sent_s += self._source.fmt.seconds(len(block))
        await self._write_audio(socket, converter.flush())
        await self._write(socket, wire.stop())

    async def _write_audio(self, socket: ClientConnection, audio: F32) -> None:
        if len(audio):
            await self._write(socket, encode_f32(audio))

    async def _write(self, socket: ClientConnection, message: str | bytes) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send(message)
        except TimeoutError as exc:
            raise stuck(str(self._address)) from exc
        except ConnectionClosed as exc:
            raise ConnectionResetError(str(exc)) from exc

    async def _receive(self, socket: ClientConnection, said: Said) -> Transcript:
        closed: list[wire.ClosedSegment] = []
        language = self._language
        blank = ""
        try:
            async for message in socket:
                self._exchange.heard_from()
                match wire.decode_answer(message) if isinstance(message, str) else None:
                    case wire.LiveWord(word=word):
                        said(blank + word)
                        blank = " "
                    case wire.ClosedSegment() as segment:
                        closed.append(segment)
                    case wire.LanguageDetected(lang=lang):
                        language = lang
                    case wire.WholeText() as whole:
                        return Transcript(
                            text=whole.text,
                            language=language,
                            duration=samples(self._sent_s),
                            segments=wire.segments(whole, closed),
                        )
                    case wire.Error(message=text, code=code):
                        raise refused(str(self._address), text, code)
                    case None:
                        pass
        except PeerProtocolError as exc:
            raise ServerError(
                f"{self._address} does not answer as an eaRS server: {exc}", code="server-protocol"
            ) from exc
        except ConnectionClosed as exc:
            raise gone(str(self._address)) from exc
        raise gone(str(self._address))


@asynccontextmanager
async def _connection(address: WebSocketAddress) -> AsyncIterator[ClientConnection]:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S) as limit:
            socket = await connect(
                str(address),
                # A server that holds audio back reads our pongs late, too: silence is our own timeout's part.
                ping_interval=None,
                compression=None,
                max_size=wire.MAX_MESSAGE_BYTES,
                close_timeout=CLOSE_TIMEOUT_S,
                open_timeout=None,
                proxy=None,
            )
    except InvalidStatus as exc:
        raise unreachable(str(address), f"HTTP status {exc.response.status_code}") from exc
    except (InvalidHandshake, InvalidURI, EOFError) as exc:
        raise unreachable(str(address), "it does not speak WebSocket") from exc
    except (OSError, UnicodeError) as exc:  # TimeoutError is an OSError; a host name may not be one
        raise unreachable(str(address), no_answer(exc, limit)) from exc
    try:
        yield socket
    finally:
        await socket.close()
