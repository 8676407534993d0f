import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ears_edge.servers.pidfile import AlreadyRunningError, claim, pid_file, pid_file_path, release

HAS_PROC = Path("/proc/self/cmdline").exists()


@contextmanager
def process(program: str, argument: str = "x") -> Iterator[int]:
    """A live process that is called `program` and has `argument` on its command line."""
    with subprocess.Popen(  # noqa: S603  # our own interpreter
        [program, "-c", "import sys; print(flush=True); sys.stdin.read()", argument],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield running.pid
        finally:
            running.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/home/u/.local/state/ears/server.pid"),
        ({"XDG_STATE_HOME": ""}, "/home/u/.local/state/ears/server.pid"),
        ({"XDG_STATE_HOME": "  "}, "/home/u/.local/state/ears/server.pid"),
        ({"XDG_STATE_HOME": "/var/s"}, "/var/s/ears/server.pid"),
    ],
)
def test_where_it_lies(environ: dict[str, str], path: str) -> None:
    assert pid_file_path(environ, Path("/home/u")) == Path(path)


def test_it_holds_the_pid_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "server.pid"
    with pid_file(path):
        assert path.read_bytes() == str(os.getpid()).encode()
        assert path.stat().st_mode & 0o777 == 0o644
        assert list(path.parent.iterdir()) == [path]
    assert not path.exists()


@pytest.mark.parametrize(
    ("program", "argument"),
    [
        ("ears", "x"),
        ("/usr/local/bin/ears-server", "x"),
        ("/opt/venv/bin/python3.14", "/opt/venv/bin/ears-edge"),
        ("python", "ears_edge"),
    ],
)
def test_a_live_server_is_not_displaced(tmp_path: Path, program: str, argument: str) -> None:
    path = tmp_path / "server.pid"
    with process(program, argument) as pid:
        path.write_text(f"{pid}\n")
        with pytest.raises(AlreadyRunningError) as refused, pid_file(path):
            pytest.fail("the block ran")
        assert path.read_text() == f"{pid}\n"
    assert str(refused.value) == f"ears server already running (pid {pid})"
    assert refused.value.code == "already-running"


@pytest.mark.skipif(not HAS_PROC, reason="what a process is called is read from /proc")
@pytest.mark.parametrize(
    ("program", "argument"),
    [
        ("sleep", "5"),
        ("s6-supervise", "ears-edge"),
        ("/usr/bin/vim", "/home/u/ears/ears"),
        ("python", "bears"),
    ],
)
def test_a_reused_pid_is_stale(tmp_path: Path, program: str, argument: str) -> None:
    path = tmp_path / "server.pid"
    with process(program, argument) as pid:
        path.write_text(str(pid))
        claim(path, 4)
    assert path.read_text() == "4"


def test_our_own_pid_from_an_earlier_life_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    path.write_text(str(os.getpid()))
    with pid_file(path):
        assert path.read_text() == str(os.getpid())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\xff\xfe",
        b"-1",
        b"0",
        b"000",
        b"0x10",
        "٣".encode(),
        b"99999999999999999999",
        b"9" * 5000,
        b"999999999",
    ],
)
def test_a_stale_or_senseless_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server.pid"
    path.write_bytes(content)
    claim(path, 5)
    assert path.read_text() == "5"


def test_another_servers_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    with pid_file(path):
        path.write_text("12345")
    assert path.read_text() == "12345"


def test_a_missing_file_is_released_in_silence(tmp_path: Path) -> None:
    release(tmp_path / "server.pid", 1)


def test_a_home_that_cannot_be_written_costs_a_warning_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ears").write_text("a file where the folder should be")
    with pid_file(tmp_path / "ears" / "server.pid"):
        pass
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "ears.pid_file = false" in record.message
