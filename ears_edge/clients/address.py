"""Where a server is, and which protocol it speaks there."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from ears_edge.errors import ConfigError

KEY: Final = "--server"

Scheme = Literal["tcp", "unix", "ws", "wss"]

_PORTS: Final = {"tcp": 10_300, "ws": 8_765, "wss": 443}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """`tcp://` and `unix://` are Wyoming, `ws://` and `wss://` are eaRS."""

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str | None = None
    """Of the Unix socket, or of the WebSocket; None for `tcp`."""

    @property
    def wyoming(self) -> bool:
        """Whether Wyoming is spoken there."""
        return self.scheme in ("tcp", "unix")

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path or ''}"


def parse(uri: str) -> ServerAddress:
    """`tcp://HOST[:PORT]`, `unix:///PATH`, `ws://HOST[:PORT][/PATH]` or `wss://…` -> an address.

    Raises:
        ConfigError: It is none of these.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(KEY, f"{uri!r} can't be read: {exc}") from exc
    match parts.scheme:
        case "tcp" if host and parts.path in ("", "/"):
            return ServerAddress("tcp", host, port or _PORTS["tcp"])
        case "unix" if not parts.netloc and parts.path.startswith("/"):
            return ServerAddress("unix", path=parts.path)
        case ("ws" | "wss") as scheme if host and not parts.username and not parts.fragment:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return ServerAddress(scheme, host, port or _PORTS[scheme], path)
        case _:
            raise ConfigError(
                KEY, f"{uri!r} is none of tcp://HOST:PORT, unix:///PATH (Wyoming) and ws://HOST:PORT (eaRS)"
            )
