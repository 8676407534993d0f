"""Pages for those who ask a WebSocket server in plain HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """A page as it is now."""

    status: HTTPStatus
    content_type: str
    body: bytes

    def response(self, connection: ServerConnection) -> Response:
        """As websockets sends it; the connection is closed behind it."""
        response = connection.respond(self.status, "")
        del response.headers["Content-Type"], response.headers["Content-Length"]
        response.headers["Content-Type"] = self.content_type
        response.headers["Content-Length"] = str(len(self.body))
        response.headers["Cache-Control"] = "no-store"
        response.body = self.body
        return response


Page: TypeAlias = Callable[[], Answer]
