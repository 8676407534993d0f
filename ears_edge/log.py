"""Setting up logging: one line a record, on standard error."""

import logging
import os
import sys
from typing import Final, TextIO

_LOUD_LIBRARIES: Final = ("asyncio", "websockets", "zeroconf")
"""Libraries that log what clients do wrong, or each packet: only their errors, unless we debug."""


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Log records of `level` and above; called once, at start.

    In systemd's journal, which has the time itself, a line begins with its priority; elsewhere with its time.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        stream: Where to; None means standard error, never standard output (`stdio://` needs that).
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JournalFormatter() if _is_journal(handler.stream) else _Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _LOUD_LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET if number == logging.DEBUG else logging.ERROR)


def _is_journal(stream: TextIO) -> bool:
    """Source: systemd.exec(5), `JOURNAL_STREAM`: device and inode, as children inherit the variable only."""
    try:
        about = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # a stream of Python's own, or closed
    return os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")


class _JournalFormatter(logging.Formatter):
    """Source: sd-daemon(3), the `<N>` prefixes of syslog."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        priority = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4}.get(record.levelno, 3)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())
