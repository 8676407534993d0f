"""Sockets to accept connections on."""

import asyncio
import errno
import os
import socket
from contextlib import suppress
from typing import Final

from ears_edge.errors import ConfigError

BACKLOG: Final = 100
"""Connections that may wait to be accepted."""

_ANY: Final[dict[str, tuple[str, str]]] = {
    "": ("0.0.0.0", "::"),  # noqa: S104  # what the user asked for
    "0.0.0.0": ("0.0.0.0", "::"),  # noqa: S104  # as above
    "::": ("::", "0.0.0.0"),  # noqa: S104  # as above
}
"""Any address means any of both families: a browser may try `::1` before `127.0.0.1`."""


async def listen(host: str, port: int, *, section: str) -> list[socket.socket]:
    """Listen on `host`, all on one port. The first address must work, the others are taken where they do.

    Args:
        host: A name or an address; empty, `0.0.0.0` and `::` mean every address of both families.
        port: 0 lets the system choose.
        section: The section of the settings that `host` and `port` come from.

    Raises:
        ConfigError: Not an address of this machine, or the port is taken or needs rights.
    """
    addresses = _ANY.get(host) or await _resolve(host, section)
    try:
        sockets = [_bind(addresses[0], port)]
    except OSError as exc:
        raise _explained(exc, addresses[0], port, section) from exc
    port = sockets[0].getsockname()[1]
    for address in addresses[1:]:
        with suppress(OSError):  # no IPv6 on this machine, or another program has this port there
            sockets.append(_bind(address, port))
    return sockets


async def _resolve(host: str, section: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # UnicodeError: no name of a host could look like this
        raise ConfigError(f"{section}.host", f"no address found for {host!r}: {exc}") from exc
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


def _explained(exc: OSError, address: str, port: int, section: str) -> ConfigError:
    match exc.errno:
        case errno.EADDRINUSE:
            return ConfigError(
                f"{section}.port", f"{port} is taken by another program; stop it or change this"
            )
        case errno.EACCES | errno.EPERM:
            return ConfigError(
                f"{section}.port", f"{port} needs rights that this user has not; use one above 1023"
            )
        case errno.EADDRNOTAVAIL:
            return ConfigError(f"{section}.host", f"{address} is not an address of this machine")
        case number:
            return ConfigError(f"{section}.host", f"can't listen on {address}: {os.strerror(number or 0)}")
