"""Unix sockets to accept connections on, and those that others may have left behind."""

import contextlib
import socket
import stat
from pathlib import Path
from typing import Final

from ears_edge.errors import ConfigError
from ears_edge.uri import LISTEN_KEY

SOCKET_MODE: Final = 0o660
"""Owner and group may connect."""
PROBE_S: Final = 2.0
"""A live server takes a connection well within this."""


def bind(path: Path, key: str = LISTEN_KEY) -> socket.socket:
    """A Unix socket bound to `path`, not yet listening. What a dead server left there is replaced. Blocks.

    Args:
        path: Where; its folder must be there.
        key: Of the settings that a user edits if the path can't be used.

    Raises:
        ConfigError: A live server listens there, something else is there, or the path can't be used.
    """
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_way(path, key)
        taken.bind(str(path))
        # Nobody can connect before it listens, so there is no moment at which others may.
        path.chmod(SOCKET_MODE)
    except OSError as exc:
        taken.close()
        raise ConfigError(key, f"can't listen on {path}: {exc.strerror or exc}") from exc
    except ConfigError:
        taken.close()
        raise
    return taken


def inode(path: Path) -> tuple[int, int] | None:
    """What tells the socket file from one that another server has put in its place. Blocks."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove(path: Path, ours: tuple[int, int] | None) -> None:
    """Remove our socket file, if it is still ours. Blocks."""
    if ours is not None and inode(path) == ours:
        with contextlib.suppress(OSError):
            path.unlink()


def _make_way(path: Path, key: str) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(key, f"{path} is there already, and is not a socket; remove it or choose another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass
    raise ConfigError(key, f"another server listens on {path}; stop it or choose another path")
