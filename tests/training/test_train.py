"""The training's own course. Runs where the training's requirements are installed."""

import math
from pathlib import Path

import pytest

for package in ("torch", "numba", "nemo"):
    pytest.importorskip(package)

import numpy as np  # noqa: E402  # only where they are installed
import torch  # noqa: E402

from training.train import DIVERGED, disagreement, diverged, learning_rate, main  # noqa: E402


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


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--layers", "2"], "an encoder of 16 layers can't shrink to 2"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
        ([], "no speech in"),
    ],
)
def test_what_is_wrong_is_told_before_the_training_begins(
    wrong: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = ["--data", str(tmp_path), "--novels", str(tmp_path), "--work", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["train", *paths, "--minutes", "1", *wrong])
    with pytest.raises(SystemExit):
        main()
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_views_that_say_the_same_do_not_disagree_and_what_lies_behind_a_clip_says_nothing() -> None:
    torch.manual_seed(0)
    once = torch.log_softmax(torch.randn(3, 10, 5), -1)
    again = once.clone()
    again[0, 4] = torch.log_softmax(torch.randn(5), -1)
    again[1, 7:] = 0.0
    frames = np.array([10, 7, 10] * 2)
    apart = disagreement(torch.cat((once, again)), frames)
    there, back = (
        float((p.exp() * (p - q)).sum()) for p, q in ((again[0, 4], once[0, 4]), (once[0, 4], again[0, 4]))
    )
    assert apart.tolist() == pytest.approx([there, 0, 0, back, 0, 0], abs=1e-5)
    assert min(there, back) > 0.1


def test_each_view_moves_towards_what_the_other_says() -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 4, 5, requires_grad=True)
    frames = np.array([4, 4])
    first = disagreement(torch.log_softmax(logits, -1), frames).sum()
    first.backward()
    assert logits.grad is not None
    assert logits.grad.abs().amax((1, 2)).min() > 0.01
    nearer = disagreement(torch.log_softmax(logits - 0.5 * logits.grad, -1), frames).sum()
    assert nearer < 0.7 * first
