"""What the model is taught to write. Runs where the training's requirements are installed."""

import random

import pytest

for package in ("hassil", "home_assistant_intents", "num2words"):
    pytest.importorskip(package)

from training.commands import Commands, in_words  # noqa: E402  # only where the training's requirements are


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Set a timer for 5 minutes.", "Set a timer for five minutes."),
        ("Dim it to 45%.", "Dim it to forty-five percent."),
        ("Set it to 20.5 degrees.", "Set it to twenty point five degrees."),
        ("Wake me at 7:30 AM.", "Wake me at seven thirty AM."),
        ("It is 12:05 or 6:00.", "It is twelve oh five or six o'clock."),
        ("It has 4100 kelvin and 345 lumen.", "It has 4100 kelvin and 345 lumen."),
    ],
)
def test_numbers_below_100_are_written_out(text: str, written: str) -> None:
    assert in_words(text) == written


def test_a_number_is_written_in_one_way_only() -> None:
    commands = Commands(random.Random(5))  # noqa: S311  # sentences, not secrets
    for _ in range(500):
        text = commands.draw()
        assert in_words(text) == text
