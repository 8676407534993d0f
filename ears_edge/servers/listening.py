"""Sockets: those that accept connections, and what accepted ones have in common."""

import asyncio
import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ears_edge.errors import ConfigError, excerpt, network_reason

BACKLOG: Final = 100
"""Connections that may wait to be accepted."""

KEEPALIVE_IDLE_S: Final = 60
KEEPALIVE_INTERVAL_S: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A host that vanished without a word is noticed after two minutes."""

_ANY: Final[dict[str, tuple[str, str]]] = {
    "": ("0.0.0.0", "::"),  # noqa: S104  # what the user asked for
    "0.0.0.0": ("0.0.0.0", "::"),  # noqa: S104  # as above
    "::": ("::", "0.0.0.0"),  # noqa: S104  # as above
}
"""Any address means any of both families: a browser may try `::1` before `127.0.0.1`."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the settings that a user edits if an address can't be used."""

    host: str
    port: str


async def listen(host: str, port: int, keys: Keys) -> list[socket.socket]:
    """Listen on `host`, all on one port. The first address must work, the others are taken where they do.

    Args:
        host: A name or an address; empty, `0.0.0.0` and `::` mean every address of both families.
        port: 0 lets the system choose.
        keys: Where `host` and `port` come from.

    Raises:
        ConfigError: Not an address of this machine, or the port is taken or needs rights.
    """
    addresses = _ANY.get(host) or await _resolve(host, keys)
    try:
        sockets = [_bind(addresses[0], port)]
    except OSError as exc:
        raise _explained(exc, addresses[0], port, keys) from exc
    port = sockets[0].getsockname()[1]
    for address in addresses[1:]:
        with suppress(OSError):  # no IPv6 on this machine, or another program has this port there
            sockets.append(_bind(address, port))
    return sockets


async def _resolve(host: str, keys: Keys) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # UnicodeError: no name of a host could look like this
        raise ConfigError(keys.host, f"no address found for {excerpt(host)}: {network_reason(exc)}") from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # asyncio turns Nagle's delay off only on sockets that name their protocol.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def keep_alive(sock: Any) -> None:  # noqa: ANN401  # asyncio's TransportSocket, which has no public name
    """Let the system find out whether the other host is still there. Harmless on what is no TCP socket."""
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # macOS's name for it
    with suppress(OSError):  # the client may be gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            (idle, KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _explained(exc: OSError, address: str, port: int, keys: Keys) -> ConfigError:
    match exc.errno:
        case errno.EADDRINUSE:
            return ConfigError(keys.port, f"port {port} is taken by another program; stop it or change this")
        case errno.EACCES | errno.EPERM:
            return ConfigError(
                keys.port, f"port {port} needs rights that this user has not; use one above 1023"
            )
        case errno.EADDRNOTAVAIL:
            return ConfigError(keys.host, f"{address} is not an address of this machine")
        case number:
            return ConfigError(keys.host, f"can't listen on {address}: {os.strerror(number or 0)}")
