"""Plain text without a terminal; markup that does not come from us is text."""

import io

import pytest
from rich.console import Console

from ears_edge.terminal import Terminal, console, plain, progress


class Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_without_a_terminal_there_are_no_colours_and_no_folds(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = console()
    terminal.say(f"[bold]{'long ' * 100}[/bold]" + plain("[red]file[/red]"))
    captured = capsys.readouterr()
    assert captured.err == f"{'long ' * 100}[red]file[/red]\n"
    assert captured.out == ""
    assert not terminal.interactive


def test_a_reader_that_has_gone_is_an_error_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Gone())
    with pytest.raises(BrokenPipeError):  # rich would end the process
        console().say("to nobody")


def test_what_a_terminal_would_obey_is_shown_instead(capsys: pytest.CaptureFixture[str]) -> None:
    console().say(plain("a\x1b[31mb\rc\x07\udcff é\u3000👩\u200d🚀\nnext"))
    console().table(["x"], [["d\x1b]0;e"]])
    said, after, _, cell = capsys.readouterr().err.splitlines()
    assert said == "a\ufffd[31mb\ufffdc\ufffd\ufffd é\u3000👩\u200d🚀"
    assert after == "next"
    assert cell == "d\ufffd]0;e"


def test_standard_output_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    console(stderr=False).say("x")
    assert capsys.readouterr().out == "x\n"


def test_a_table_is_aligned_and_takes_foreign_text(capsys: pytest.CaptureFixture[str]) -> None:
    console().table(["name", "seconds"], [["[a]", "1.5"], ["b", "10.25"]], title="times")
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert lines == ["times", "name  seconds", "[a]       1.5", "b       10.25"]


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("[reading]", 10.0) as update:
        update(5.0)
        update(10.0)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_are_colours() -> None:
    stream = io.StringIO()
    Terminal(Console(file=stream, force_terminal=True, color_system="standard")).say("[green]x[/green]")
    assert "\x1b[32m" in stream.getvalue()
