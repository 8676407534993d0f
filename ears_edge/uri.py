"""Addresses of servers as people write them: URI -> parts, and back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from ears_edge.errors import ConfigError, excerpt

LISTEN_KEY: Final = "wyoming.uri"
"""The key of the settings that says where the Wyoming server listens."""
SERVER_KEY: Final = "--server"
"""The flag that names a server to ask."""
PORTS: Final[Mapping[str, int]] = MappingProxyType({"tcp": 10_300, "ws": 8_765, "wss": 443})
"""Where a server listens if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """`tcp://HOST:PORT`: Wyoming."""

    host: str
    port: int
    """0 for any free one, where a server listens."""

    def __str__(self) -> str:
        return f"tcp://{host_and_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """`unix:///PATH`: Wyoming."""

    path: Path

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True)
class StdioAddress:
    """`stdio://`: Wyoming, one connection over standard input and output."""

    def __str__(self) -> str:
        return "stdio://"


@dataclass(frozen=True, slots=True)
class WebSocketAddress:
    """`ws://HOST:PORT/PATH`, or `wss://` over TLS: eaRS."""

    host: str
    port: int
    path: str = "/"
    """With the query, if there is one."""
    tls: bool = False

    def __str__(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{host_and_port(self.host, self.port)}{self.path}"


WyomingAddress: TypeAlias = TcpAddress | UnixAddress
ListenAddress: TypeAlias = WyomingAddress | StdioAddress
ServerAddress: TypeAlias = WyomingAddress | WebSocketAddress

_LISTEN_FORMS: Final = "tcp://HOST:PORT, unix:///PATH or stdio://"
_SERVER_FORMS: Final = "tcp://HOST:PORT or unix:///PATH (Wyoming), or ws://HOST:PORT (eaRS)"


def listen_address(uri: str) -> ListenAddress:
    """`tcp://HOST:PORT`, `unix:///PATH` or `stdio://`: where the Wyoming server listens.

    Raises:
        ConfigError: It is none of these.
    """
    address = _parse(uri, LISTEN_KEY, _LISTEN_FORMS, ports={})
    if isinstance(address, WebSocketAddress):
        raise _wrong(uri, LISTEN_KEY, _LISTEN_FORMS)
    return address


def server_address(uri: str) -> ServerAddress:
    """`tcp://HOST[:PORT]`, `unix:///PATH` or `ws[s]://HOST[:PORT][/PATH]`: where a server is asked.

    Raises:
        ConfigError: It is none of these.
    """
    address = _parse(uri, SERVER_KEY, _SERVER_FORMS, ports=PORTS)
    if isinstance(address, StdioAddress):
        raise _wrong(uri, SERVER_KEY, _SERVER_FORMS)
    return address


def host_and_port(host: str, port: int) -> str:
    """`HOST:PORT`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(uri: str, key: str, forms: str, *, ports: Mapping[str, int]) -> ListenAddress | ServerAddress:
    if not uri.isprintable():  # `urlsplit` would leave tabs and line ends out
        raise _wrong(uri, key, forms)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise _wrong(uri, key, forms, f" ({exc})") from exc
    port = ports.get(parts.scheme) if port is None else port
    plain = not (parts.username or parts.password or parts.fragment)
    match parts.scheme:
        case "tcp" if host and port is not None and plain and not parts.query and parts.path in {"", "/"}:
            return TcpAddress(host, port)
        case "unix" if not parts.netloc and plain and not parts.query and parts.path.startswith("/"):
            return UnixAddress(Path(parts.path))
        case "stdio" if not (parts.netloc or parts.path or parts.query or parts.fragment):
            return StdioAddress()
        case ("ws" | "wss") as scheme if host and port is not None and plain:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return WebSocketAddress(host, port, path, tls=scheme == "wss")
    raise _wrong(uri, key, forms)


def _wrong(uri: str, key: str, forms: str, reason: str = "") -> ConfigError:
    return ConfigError(key, f"got {excerpt(uri)}{reason}; expected {forms}")
