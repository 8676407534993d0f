"""The training's own course. Runs where the training's requirements are installed."""

import math

import pytest

for package in ("torch", "numba", "nemo"):
    pytest.importorskip(package)

from training.train import DIVERGED, diverged, learning_rate  # noqa: E402  # only where they are installed


@pytest.mark.parametrize(
    ("reached", "lost"),
    [
        ([], False),
        ([2.1], False),
        ([0.66, 0.60, 0.72], False),
        ([0.60, 0.66, 0.60 * DIVERGED], False),
        ([0.66, 0.60, 2.44], True),
        ([0.66, math.nan], True),
    ],
)
def test_a_run_that_has_lost_what_it_knew_is_ended(reached: list[float], *, lost: bool) -> None:
    assert diverged(reached) == lost


def test_the_rate_rises_by_steps_and_is_at_its_end_when_the_time_is_up() -> None:
    assert learning_rate(0.0, 0, 1e-3) < learning_rate(0.0, 50, 1e-3) < learning_rate(0.0, 500, 1e-3)
    assert learning_rate(0.0, 500, 1e-3) == pytest.approx(1e-3)
    assert learning_rate(1.0, 500, 1e-3) == learning_rate(1.7, 500, 1e-3) == pytest.approx(1e-5)
