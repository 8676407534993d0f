"""One line a record, on standard error; libraries stay quiet."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ears_edge import log


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name in ("asyncio", "websockets", "zeroconf"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_record_is_a_line_with_time_level_and_name() -> None:
    stream = io.StringIO()
    log.set_up("info", stream)
    logging.getLogger("ears_edge.x").info("hello %s", "you")
    logging.getLogger("ears_edge.x").debug("secret words")
    assert stream.getvalue().endswith("INFO    ears_edge.x: hello you\n")
    assert stream.getvalue()[:2] == "20"
    assert "secret" not in stream.getvalue()


def test_in_the_journal_a_line_has_a_priority_and_no_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as stream:
        about = path.stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        log.set_up("debug", stream)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("x").log(level, "two\nlines")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [f"<{number}>{text}" for number in (7, 6, 4, 3) for text in ("x: two", "lines")]


def test_a_journal_that_only_the_parent_writes_to_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as stream:
        log.set_up("info", stream)
        logging.getLogger("x").info("hello")
    assert path.read_text(encoding="utf-8").startswith("20")


def test_libraries_are_heard_only_when_we_debug() -> None:
    stream = io.StringIO()
    log.set_up("info", stream)
    logging.getLogger("websockets.server").warning("a client did this")
    assert stream.getvalue() == ""
    log.set_up("debug", stream)
    logging.getLogger("websockets.server").debug("a client did this")
    assert "a client did this" in stream.getvalue()


def test_standard_output_is_never_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("x").warning("here")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "here" in captured.err
