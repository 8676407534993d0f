"""The training's own course. Runs where the training's requirements are installed."""

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
for package in ("numba", "nemo"):
    pytest.importorskip(package)

from training.model import FLOAT, load, read_labels  # noqa: E402  # only where they are installed
from training.train import DIVERGED, HERE, VOCABULARY, diverged, learning_rate, main  # noqa: E402  # the same


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
    assert learning_rate(0.6, 500, 1e-3) == pytest.approx(1e-3)
    assert 1e-4 < learning_rate(0.9, 500, 1e-3) < learning_rate(0.8, 500, 1e-3) < 0.9e-3
    assert learning_rate(0.5, 500, 1e-3, 0.0) == pytest.approx(1e-3 / 2, rel=0.02)
    assert learning_rate(1.0, 500, 1e-3) == learning_rate(1.7, 500, 1e-3) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--layers", "2"], "an encoder of 20 layers can't shrink to 2"),
        (["--start", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--level", "1"], "--level is a share from 0 to below 1, not 1.0"),
        (["--batches", "0"], "--batches is a number from 1 on, not 0"),
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


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--frozen", "4"], "has --frozen 8: go on with that"),
        (["--frozen", "8", "--layers", "17"], "has --layers 16: go on with that"),
        (["--frozen", "8"], "no speech in"),
    ],
)
def test_a_run_does_not_go_on_with_other_layers(
    asked: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = load(HERE / FLOAT, read_labels(VOCABULARY))
    torch.save({"model": model.state_dict(), "frozen": 8}, tmp_path / "state.pt")
    paths = [f"--{name}={tmp_path}" for name in ("data", "novels", "work")]
    monkeypatch.setattr("sys.argv", ["train", *paths, "--minutes", "1", *asked])
    with pytest.raises(SystemExit):
        main()
    assert told in capsys.readouterr().err
