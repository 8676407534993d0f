"""One utterance over Wyoming: what the engine says of it -> events for the client."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from ears_edge.audio.pcm import PcmFormat
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import EarsEdgeError, InferenceError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word, join
from ears_edge.servers.engine_port import Stream
from ears_edge.units import seconds
from ears_edge.wire import wyoming

FEED_BYTES: Final = 64 * 1024
"""A chunk's audio goes to the engine in pieces of this size, so that its bound on queued audio holds."""

Log: TypeAlias = logging.LoggerAdapter[logging.Logger]
Send: TypeAlias = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How an utterance is to be heard, and what goes back with its transcript."""

    options: SessionOptions
    context: wyoming.Context | None = None


class Utterance:
    """A stream of the engine and its answer: transcript-start, -chunk(s), transcript, transcript-stop.

    `tell()` runs as a task of its own while `hear()` and `finish()` are called. Whatever goes wrong is told
    once. `close()` must be called at the end, also if `tell()` has never run.
    """

    def __init__(self, stream: Stream, order: Order, send: Send, log: Log) -> None:
        self.order = order
        self._stream = stream
        self._send = send
        self._log = log
        self._language = order.options.language
        self._started = False
        self._words_told = 0
        self._over = False
        self._answered = False

    @property
    def answered(self) -> bool:
        """True once its transcript, or what went wrong, is told."""
        return self._answered

    @property
    def over(self) -> bool:
        """True once it is answered or has failed; more audio would be of no use."""
        return self._over

    async def hear(self, pcm: bytes, fmt: PcmFormat) -> None:
        """Take audio; waits while the engine has enough of it."""
        try:
            for start in range(0, len(pcm), FEED_BYTES):
                if self._over:
                    return
                await self._stream.feed(pcm[start : start + FEED_BYTES], fmt)
        except EarsEdgeError as exc:
            await self._fail(exc)

    async def finish(self) -> None:
        """The client's audio is complete."""
        try:
            await self._stream.finish()
        except EarsEdgeError as exc:
            await self._fail(exc)

    async def tell(self) -> None:
        """Send what the engine says, until the transcript is complete or an error is told."""
        try:
            async for event in self._stream.events():
                await self._tell(event)
            if not self._over:
                raise InferenceError("The engine has stopped before the transcript was complete.")
        except EarsEdgeError as exc:
            await self._fail(exc)
        finally:
            await self.close()

    async def close(self) -> None:
        """Free the engine's slot."""
        self._over = True
        await self._stream.close()

    async def _tell(self, event: Event) -> None:
        match event:
            case FinalWords(words):
                await self._tell_words(words)
            case Language(code):
                self._language = code
            case FinalText():
                await self._conclude(event)
            case Segment() | Pause():
                pass
            case _:
                assert_never(event)

    async def _tell_words(self, words: tuple[Word, ...]) -> None:
        if not words:
            return
        await self._start()
        blank = " " if self._words_told else ""
        self._words_told += len(words)
        await self._send(wyoming.transcript_chunk(blank + join(words)))

    async def _conclude(self, final: FinalText) -> None:
        # The slot is free before a client that may be slow takes the text.
        await self.close()
        self._language = final.language or self._language
        self._log.info("transcript of %.1f s: %d words", seconds(final.duration), len(final.words))
        self._log.debug("transcript: %s", final.text)
        await self._tell_words(final.words[self._words_told :])
        await self._start()
        # In one piece: a client that leaves with the text, as Home Assistant does, leaves nothing unread.
        text = wyoming.transcript(final.text, self._language, self.order.context)
        await self._send(text + wyoming.transcript_stop())
        self._answered = True

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._send(wyoming.transcript_start(self._language, self.order.context))

    async def _fail(self, exc: EarsEdgeError) -> None:
        if self._over:
            return
        await self.close()
        self._log.info("utterance failed: %s: %s", exc.code, exc)
        await self._send(wyoming.error(str(exc), exc.code))
        self._answered = True
