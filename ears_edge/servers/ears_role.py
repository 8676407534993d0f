"""What the two roles of an eaRS connection, speaking and listening, have in common."""

import asyncio
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ears_edge.errors import PeerProtocolError
from ears_edge.servers.peer import Peer
from ears_edge.wire import ears

MAX_BAD_MESSAGES: Final = 100
"""Messages that could not be obeyed; a client that sends this many is closed. Each one was answered."""

NORMAL, GOING_AWAY, POLICY, INTERNAL, TRY_LATER = 1000, 1001, 1008, 1011, 1013
"""Close codes. Source: RFC 6455, section 7.4.1, and IANA's WebSocket close code registry for 1013."""
GONE: Final = 1006
"""No Close can be sent: the client is gone. Source: RFC 6455, section 7.4.1; never on the wire."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a role ends, and how its connection is closed."""

    code: int
    reason: str = ""
    orderly: bool = False
    """Finish first what is under way: the final text, the queued messages."""
    notice: str | None = None
    """A last message, sent before the Close."""


@dataclass(slots=True)
class EarsCounters:
    """What happened since the server started. For metrics; each only grows."""

    connections: int = 0
    sessions: int = 0
    listeners: int = 0
    bad_messages: int = 0
    ragged_bytes: int = 0
    """Bytes at the ends of binary messages that made no whole sample."""
    refused_origins: int = 0
    refused_busy: int = 0
    failed_authentications: int = 0
    slow_listeners: int = 0


class ConnectionLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the connection's number in front of each line."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:  # noqa: ANN401  # as logging declares it
        """As `logging.LoggerAdapter` asks."""
        return f"eaRS connection {(self.extra or {})['number']}: {msg}", kwargs


OutcomeT = TypeVar("OutcomeT")


class Role(Generic[OutcomeT]):
    """One connection's part in the protocol, until its first reason to end."""

    def __init__(self, peer: Peer, counters: EarsCounters, log: ConnectionLog) -> None:
        self._peer = peer
        self._counters = counters
        self._log = log
        self._bad_messages = 0
        self._outcome: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()

    def end(self, outcome: OutcomeT) -> None:
        """End the role; only the first reason counts."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _refusal(self, exc: PeerProtocolError) -> Ending | str:
        """A message that could not be obeyed -> the answer, or the end once there were too many."""
        self._counters.bad_messages += 1
        self._bad_messages += 1
        self._log.debug("%s (%s)", exc, exc.code)
        answer = ears.error(str(exc), exc.code)
        if self._bad_messages < MAX_BAD_MESSAGES:
            return answer
        return Ending(POLICY, f"{MAX_BAD_MESSAGES} bad messages", notice=answer)
