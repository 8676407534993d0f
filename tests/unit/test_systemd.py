"""The notifications are what a service manager reads."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ears_edge.systemd import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def test_each_state_is_one_datagram(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(manager.getsockname())})
    notifier.tell("READY")
    notifier.tell("STATUS", "two\nlines  and — a dash")
    notifier.tell("STATUS", "x" * 500)
    notifier.tell("STOPPING")
    notifier.close()
    notifier.tell("READY")
    assert [manager.recv(1000).decode() for _ in range(4)] == [
        "READY=1",
        "STATUS=two lines and — a dash",
        "STATUS=" + "x" * 200,
        "STOPPING=1",
    ]
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="abstract sockets are Linux's")  # noqa: PTH112  # evaluated at import
def test_an_abstract_address_is_understood() -> None:
    name = f"ears-edge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.tell("READY")
        notifier.close()
        assert sock.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_or_does_not_read_is_no_error(manager: socket.socket, tmp_path: Path) -> None:
    deaf = Notifier({"NOTIFY_SOCKET": str(manager.getsockname())})
    for _ in range(5000):
        deaf.tell("WATCHDOG")
    deaf.close()
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    gone.tell("READY")
    gone.close()


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.tell("READY")
    assert notifier.watchdog_s is None
    notifier.close()
    notifier.close()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_read_from_the_environment(
    manager: socket.socket, env: dict[str, str], seconds: float | None
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(manager.getsockname()), **env})
    assert notifier.watchdog_s == seconds
    notifier.close()
