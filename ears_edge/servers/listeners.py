"""Which streams there are, and who listens to them."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from ears_edge.errors import OverloadedError, UnsupportedError

MAX_QUEUED_CHARS: Final = 1_048_576
"""Text that may wait for one listener; then it is dropped. A single longer message is still sent."""


class Outbox:
    """What one listener is still to be sent. Putting never waits, so a listener never slows a stream."""

    def __init__(self, when_full: Callable[[], None]) -> None:
        self._when_full = when_full
        self._messages: deque[str] = deque()
        self._chars = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, message: str) -> None:
        """Queue a message; calls `when_full` once if it does not fit, and takes nothing from then on."""
        if self._closed:
            return
        if self._messages and self._chars + len(message) > MAX_QUEUED_CHARS:
            self._messages.clear()
            self.close()
            self._when_full()
            return
        self._messages.append(message)
        self._chars += len(message)
        self._changed.set()

    async def get(self) -> str | None:
        """The next message, or None once the box is closed and empty."""
        while not self._messages:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._chars -= len(message)
        return message

    def close(self) -> None:
        """Take no more; what is queued can still be fetched."""
        self._closed = True
        self._changed.set()


class StreamRegistry:
    """The streams of one server and their listeners. A stream's listeners do not outlive it."""

    def __init__(self, *, max_listeners: int) -> None:
        self._max_listeners = max_listeners
        self._ids = count(1)
        self._streams: dict[int, dict[Outbox, None]] = {}

    def add(self) -> int:
        """List a new stream; its id is the next number, from 1 on."""
        stream_id = next(self._ids)
        self._streams[stream_id] = {}
        return stream_id

    def remove(self, stream_id: int) -> None:
        """Unlist a stream; harmless if it is not listed."""
        self._streams.pop(stream_id, None)

    def stream_ids(self) -> list[int]:
        """The listed streams, oldest first."""
        return list(self._streams)

    def subscribe(self, stream_id: int, outbox: Outbox) -> None:
        """Put each further message of the stream into `outbox`. Doing it twice changes nothing.

        Raises:
            UnsupportedError: There is no such stream.
            OverloadedError: The stream has all the listeners it may have.
        """
        listeners = self._streams.get(stream_id)
        if listeners is None:
            raise UnsupportedError(f"Stream {stream_id} not found", code="stream-not-found")
        if outbox not in listeners and len(listeners) >= self._max_listeners:
            raise OverloadedError(f"Stream {stream_id} has {self._max_listeners} listeners, the most it may")
        listeners[outbox] = None

    def unsubscribe(self, outbox: Outbox) -> None:
        """Forget a listener on every stream."""
        for listeners in self._streams.values():
            listeners.pop(outbox, None)

    def publish(self, stream_id: int, message: str) -> None:
        """Hand a message to the stream's listeners. Never waits."""
        for outbox in tuple(self._streams.get(stream_id, ())):
            outbox.put(message)

    def is_heard(self, stream_id: int) -> bool:
        """Whether anyone listens to the stream."""
        return bool(self._streams.get(stream_id))
