"""hibari as the training has it. Runs where the training's requirements are installed."""

import random

import numpy as np
import pytest

for package in ("hibari", "onnx", "scipy"):
    pytest.importorskip(package)

from training.hibari import RATE, Hibari, _slurred  # noqa: E402  # only where they are installed


def test_it_says_a_sentence_in_many_ways() -> None:
    model = Hibari()
    heard = [model.speak("Turn on the light in the kitchen.", random.Random(seed)) for seed in (1, 2, 1)]
    assert all(np.isfinite(sound).all() and 0.7 < len(sound) / RATE < 5.0 for sound in heard)
    assert not np.array_equal(heard[0], heard[1])
    np.testing.assert_array_equal(heard[0], heard[2])


@pytest.mark.parametrize(
    ("width", "spread"), [(0.0, [0, 0, 1, 0, 0]), (1.0, [0, 0.25, 0.5, 0.25, 0]), (0.9, [0, 0, 1, 0, 0])]
)
def test_a_frame_runs_into_those_beside_it(width: float, spread: list[float]) -> None:
    click = np.array([[0, 0, 1, 0, 0], [2, 2, 2, 2, 2]], np.float32)
    np.testing.assert_allclose(_slurred(click, width), [spread, [2.0] * 5], atol=1e-6)
