"""What the service manager is told: ready, status, alive, stopping. Nothing happens without one.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import os
import socket
from collections.abc import Mapping
from typing import Final, Literal

State = Literal["READY", "STATUS", "STOPPING", "WATCHDOG"]

_MAX_STATUS_CHARS: Final = 200


class Notifier:
    """Sends datagrams to the socket that `NOTIFY_SOCKET` names.

    Never raises and never waits: a manager that does not listen must not stop the daemon.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._watchdog_s = _watchdog_s(env)
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @property
    def watchdog_s(self) -> float | None:
        """Within this time the manager wants a WATCHDOG, again and again; None if it does not."""
        return self._watchdog_s if self._socket is not None else None

    def tell(self, state: State, value: str = "1") -> None:
        """Send one assignment; a status is cut to one short line."""
        if self._socket is None:
            return
        line = " ".join(value.split())[:_MAX_STATUS_CHARS]
        try:
            self._socket.sendto(f"{state}={line}".encode(), self._address)
        except OSError:
            return  # nobody listens, or its queue is full; the next one may get through

    def close(self) -> None:
        """Close the socket; tell() does nothing from then on. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_s(env: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(env.get("WATCHDOG_USEC", ""))
        meant_for = int(env.get("WATCHDOG_PID", "") or os.getpid())
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and meant_for == os.getpid() else None
