"""eaRS's PID file: its own tools look for it before they connect to a server on this machine.

Source: byteowlz/eaRS src/main.rs (server_pid_path, read_pid): the decimal PID and nothing else.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ears_edge.errors import ConfigError

logger = logging.getLogger(__name__)

_MAX_PID_DIGITS: Final = 9
"""PIDs are below 2^22 on Linux and below 10^5 on macOS; a longer number is none."""


_MAX_FILE_BYTES: Final = 64
_PROGRAMS: Final = frozenset({b"ears", b"ears-server", b"ears-edge", b"ears_edge"})
"""Upstream's and ours, as they stand in a command line."""


class AlreadyRunningError(ConfigError):
    """Another eaRS server, ours or upstream's, holds the PID file."""

    default_code = "already-running"

    def __init__(self, pid: int, path: Path) -> None:
        super().__init__("", f"ears server already running (pid {pid})")
        self.pid = pid
        self.path = path


def pid_file_path(environ: Mapping[str, str], home: Path) -> Path:
    """Where eaRS keeps it. A blank XDG_STATE_HOME counts as none."""
    state = environ.get("XDG_STATE_HOME", "").strip()
    return (Path(state) if state else home / ".local" / "state") / "ears" / "server.pid"


@contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Hold the PID file while the block runs. Blocks on the disk: enter it before the event loop starts.

    A disk that can't be written costs a warning, not the daemon: only eaRS's own tools miss the file.

    Raises:
        AlreadyRunningError: The file names another live eaRS server.
    """
    try:
        claim(path, os.getpid())
    except OSError as exc:
        logger.warning(
            "no PID file at %s: %s. eaRS's own tools will not find this server; "
            "set ears.pid_file = false if none are used",
            path,
            exc.strerror or exc,
        )
    try:
        yield
    finally:
        release(path, os.getpid())


def claim(path: Path, pid: int) -> None:
    """Write `pid` to the file, at once or not at all. A stale file is replaced.

    Raises:
        AlreadyRunningError: The file names another live eaRS server.
        OSError: The folder or the file can't be written.
    """
    holder = _read(path)
    if holder is not None and holder != pid and _is_live_server(holder):
        raise AlreadyRunningError(holder, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".server.pid.", delete=False) as new:
        try:
            new.write(str(pid))
            new.flush()
            Path(new.name).chmod(0o644)
            Path(new.name).replace(path)
        except OSError:
            Path(new.name).unlink(missing_ok=True)
            raise


def release(path: Path, pid: int) -> None:
    """Remove the file if it still holds `pid`; another server's is left alone. Never raises."""
    with suppress(OSError):
        if _read(path) == pid:
            path.unlink()


def _read(path: Path) -> int | None:
    """The PID that the file names; None if it is missing or names none."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES).strip()
    except OSError:
        return None
    pid = int(text) if text.isdigit() and len(text) <= _MAX_PID_DIGITS else 0
    return pid or None  # 0 is no process, but whoever asks


def _is_live_server(pid: int) -> bool:
    """Whether `pid` runs and may be an eaRS server. PIDs are reused: after a reboot, often in containers."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and someone else's
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # no /proc here: better to ask than to displace a server
    program, *arguments = (word.rpartition(b"/")[2] for word in command.split(b"\0"))
    # Ours is run by Python. That a name is an argument of anything else, as of a supervisor, says nothing.
    return program in _PROGRAMS or (program.startswith(b"python") and not _PROGRAMS.isdisjoint(arguments))
