"""How it stands with the model, in one line for people."""

import pytest

from ears_edge.models.status import ModelStatus


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (ModelStatus(wanted="big", serving="big"), "big serves"),
        (
            ModelStatus(wanted="big", serving="mini", phase="fetching", done=0.456),
            "big is being fetched (46%); mini serves until then",
        ),
        (ModelStatus(wanted="big", phase="loading"), "big is being loaded; nothing serves yet"),
        (
            ModelStatus(wanted="big", serving="big", phase="testing"),
            "big is being tested; it serves already",
        ),
        (
            ModelStatus(wanted="big", serving="mini", phase="failed", fault="no room"),
            "big can't be used: no room; mini serves instead",
        ),
        (
            ModelStatus(wanted="big", phase="failed", fault="no room"),
            "big can't be used: no room; nothing serves",
        ),
        (
            ModelStatus(wanted="big", serving="big", phase="failed", fault="it heard 'x'"),
            "big serves, but it heard 'x'",
        ),
        (
            ModelStatus(wanted="big", phase="unloaded"),
            "big was put down, as nobody spoke; it is loaded when somebody does",
        ),
    ],
)
def test_one_line_says_what_serves_and_why(status: ModelStatus, line: str) -> None:
    assert status.line() == line
    assert status.well == (not status.fault)
