"""The real daemon as a child process."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[1]


class Child:
    """The real daemon, on free ports of loopback unless the flags say otherwise."""

    def __init__(
        self,
        tmp_path: Path,
        *flags: str,
        program: tuple[str, ...] = ("ears_edge", "serve"),
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.state = tmp_path / "state"
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = tmp_path / f"notify-{len(list(tmp_path.iterdir()))}"
        self.notifications.bind(str(address))
        self.notifications.settimeout(PATIENCE_S)
        self.env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": str(self.state),
            "NOTIFY_SOCKET": str(address),
            "EARS_EDGE_EARS__HOST": "127.0.0.1",
            "EARS_EDGE_EARS__PORT": "0",
            "EARS_EDGE_WYOMING__URI": "tcp://127.0.0.1:0",
            "EARS_EDGE_MODEL__THREADS": "1",
            "EARS_EDGE_ZEROCONF__ENABLED": "false",
            **env,
        }
        self.process = subprocess.Popen(  # noqa: S603  # our own daemon
            [sys.executable, "-m", *program, *flags],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.notifications.close()
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()

    def until(self, line: str) -> list[str]:
        """What the service manager hears up to `line`, without it."""
        before: list[str] = []
        while (got := self.notifications.recv(4096).decode()) != line:
            before.append(got)
        return before

    def until_told(self, text: str) -> str:
        """Wait for a line with this text."""
        while text not in (got := self.notifications.recv(4096).decode()):
            pass
        return got

    def command(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of ours as the daemon's user does."""
        return subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "ears_edge", *argv],
            capture_output=True,
            text=True,
            check=False,
            env=self.env,
            timeout=PATIENCE_S,
        )

    def ended(self, said: str = "") -> tuple[int, str, str]:
        """Say this on its standard input and end that: exit status, standard output, standard error."""
        out, err = self.process.communicate(said, timeout=PATIENCE_S)
        return self.process.returncode, out, err

    def ready(self) -> dict[str, str]:
        """Wait until it serves; its addresses by scheme, `tcp` and `ws`."""
        told = "\n".join(self.until("READY=1"))
        return {uri.partition(":")[0]: uri for uri in re.findall(r"\b(?:tcp|ws)://[\w.:]+", told)}
