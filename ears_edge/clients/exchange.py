"""What both clients do alike: read audio without holding up the event loop, send and receive at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

from ears_edge.audio.files import AudioSource
from ears_edge.errors import ServerError, network_reason

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10.0
SEND_TIMEOUT_S: Final = 120.0
"""A server that takes nothing for this long has hung; one that decodes slowly holds audio back."""
ANSWER_TIMEOUT_S: Final = 300.0
"""Nothing from the server for this long after the end of the audio. Audio sent all at once has to be decoded
first, by the slowest of machines."""

LIVE_BLOCK_S: Final = 0.08
"""Source: what eaRS's own clients send at once."""
FAST_BLOCK_S: Final = 0.5
MAX_BLOCK_BYTES: Final = 262_144
"""Whatever the format: servers limit what they take at once."""

Pace: TypeAlias = Callable[[float], Awaitable[None]]
"""Waits until the audio, as far as the given second, may be sent."""
Progress: TypeAlias = Callable[[float], None]
"""Takes how many seconds of audio were sent by now."""
Said: TypeAlias = Callable[[str], None]
"""Takes a piece of text that follows on the pieces before, blanks included, and is never revised."""


async def fast(_until_s: float) -> None:
    """A `Pace`: as fast as the audio is taken."""


def real_time() -> Pace:
    """A `Pace`: as a microphone would give it, from now on."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def pace(until_s: float) -> None:
        await asyncio.sleep(began + until_s - loop.time())

    return pace


async def paced(source: AudioSource, pace: Pace, progress: Progress) -> AsyncIterator[bytes]:
    """The source's blocks; reading them never holds up the event loop."""
    longest_s = MAX_BLOCK_BYTES / (source.fmt.rate * source.fmt.frame_bytes)
    blocks = source.blocks(min(FAST_BLOCK_S if pace is fast else LIVE_BLOCK_S, longest_s))
    sent_s = 0.0
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        sent_s += source.fmt.seconds(len(block))
        await pace(sent_s)
        yield block
        progress(sent_s)


class Exchange:
    """Sends and receives at once; an answer may come before all is sent, and ends it."""

    def __init__(self, server: str, *, answer_timeout_s: float | None = ANSWER_TIMEOUT_S) -> None:
        self._server = server
        self._answer_timeout_s = answer_timeout_s
        self._sent = False
        self._limit: asyncio.Timeout | None = None

    def heard_from(self) -> None:
        """The server has said something; call it for each message."""
        if self._sent and self._limit is not None and self._answer_timeout_s is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._answer_timeout_s)

    async def run(self, send: Coroutine[None, None, None], receive: Coroutine[None, None, T]) -> T:
        """Run both until there is an answer; then sending is stopped.

        A connection that is lost while sending is left to `receive`: the server may have said why.

        Raises:
            ServerError: No message for `answer_timeout_s` after the end of the audio (`server-silent`).
        """
        sending = asyncio.create_task(send)
        receiving = asyncio.create_task(receive)
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                with suppress(ConnectionError):
                    await sending
            self._sent = True
            async with asyncio.timeout(self._answer_timeout_s) as self._limit:
                return await receiving
        except TimeoutError as exc:
            raise ServerError(
                f"{self._server} has all the audio, but has said nothing for {self._answer_timeout_s:g} s. "
                "Is it overloaded? Its log may say more.",
                code="server-silent",
            ) from exc
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)


def unreachable(server: str, reason: object) -> ServerError:
    """Nobody answers."""
    return ServerError(
        f"{server} can't be reached ({reason}). Is the server running, and are host and port right?",
        code="server-unreachable",
    )


def no_answer(exc: OSError | UnicodeError, limit: asyncio.Timeout) -> str:
    """Why a connection could not be made, in a few words."""
    return f"no answer for {CONNECT_TIMEOUT_S:g} s" if limit.expired() else network_reason(exc)


def gone(server: str) -> ServerError:
    """The connection ended too early."""
    return ServerError(
        f"{server} closed the connection before its answer was complete. Its log may say why; "
        "does it speak this protocol?",
        code="server-gone",
    )


def refused(server: str, message: str, code: str | None) -> ServerError:
    """The server answered with an error."""
    return ServerError(f"{server} answered: {message}" + (f" ({code})" if code else ""), code=code)


def stuck(server: str) -> ServerError:
    """The server takes no audio."""
    return ServerError(
        f"{server} has taken no audio for {SEND_TIMEOUT_S:g} s. Is it overloaded? Its log may say more.",
        code="server-silent",
    )
