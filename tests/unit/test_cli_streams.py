"""The command line where things are not as they should be: streams that are closed or full, Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ears_edge.cli import main


def run(redirection: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Our command, with the shell's redirection; standard error is read unless that goes elsewhere."""
    return subprocess.run(  # noqa: S603  # our own command
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "ears_edge", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", **env},
    )


def test_ctrl_c_just_ends_a_command_that_does_not_handle_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []

    def new_token() -> str:
        handlers.append(signal.getsignal(signal.SIGINT))
        return "x"

    monkeypatch.setattr("ears_edge.tokens.new_token", new_token)
    before = signal.getsignal(signal.SIGINT)
    assert main(["token"]) == 0
    assert handlers == [signal.SIG_DFL]  # no traceback, wherever it is
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("argv", [["token"], ["--version"], ["config", "show", "--json"]])
def test_a_closed_standard_output_costs_the_output_only(argv: list[str]) -> None:
    done = run(">&-", *argv)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_closed_standard_error_costs_the_messages_only() -> None:
    done = run("2>&-", "config", "check", "/nonexistent.toml")
    assert (done.returncode, done.stdout) == (78, "")


def test_all_streams_may_be_closed() -> None:
    assert run("<&- >&- 2>&-", "token").returncode == 0


def test_a_closed_standard_input_is_an_empty_one() -> None:
    done = run("<&-", "transcribe", "-", EARS_EDGE_MODEL__THREADS="1")
    assert done.returncode == 1
    assert done.stderr.startswith("ears-edge: standard input: is empty")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("argv", [["token"], ["--help"], ["config", "show"]])
def test_a_full_disk_costs_one_line(argv: list[str]) -> None:
    done = run(">/dev/full", *argv)
    assert done.returncode == 1
    assert done.stderr == "ears-edge: can't go on: No space left on device\n"


def test_a_terminal_that_lacks_a_letter_gets_a_question_mark() -> None:
    done = run("", "config", "show", "--set", "zeroconf.name=東", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert 'name = "?"' in done.stdout
