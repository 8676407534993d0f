"""What a server needs of the engine, so that it can be tested with another one."""

from collections.abc import AsyncIterator
from typing import Protocol

from ears_edge.audio.pcm import PcmFormat
from ears_edge.engine.session import SessionOptions
from ears_edge.events import Event
from ears_edge.models.folder import ModelInfo
from ears_edge.models.status import ModelStatus


class Stream(Protocol):
    """One session. Close it at the end, whatever happened."""

    async def feed(self, pcm: bytes, fmt: PcmFormat) -> None:
        """Take a block; waits while too much audio is queued.

        Raises:
            EarsEdgeError: What ended the stream.
        """

    async def flush(self) -> None:
        """Make all that was heard final now; the session goes on."""

    async def finish(self) -> None:
        """End of audio: the final text will follow. Idempotent."""

    def events(self) -> AsyncIterator[Event]:
        """What was heard, up to the final text. One consumer.

        Raises:
            EarsEdgeError: What ended the stream.
        """

    async def close(self) -> None:
        """Drop everything and free the slot. Idempotent; never raises."""


class Engine(Protocol):
    """Shared by all connections."""

    model: ModelInfo
    """Which model is announced."""
    status: ModelStatus
    """How it stands with it."""

    def open(self, options: SessionOptions) -> Stream:
        """Begin a session.

        Raises:
            OverloadedError: All slots are taken (`busy`), or no fit model serves yet (`loading`).
            UnsupportedError: The model does not speak the language.
        """
