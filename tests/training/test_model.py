"""The float model and its checkpoint. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr.models")

from training.mean import mean  # noqa: E402  # only where they are installed
from training.model import FLOAT, frames_of, load, read_labels  # noqa: E402  # as above

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "training" / FLOAT
LABELS = read_labels(ROOT / "ears_edge" / "models" / "embedded" / "vocab.txt")


def test_a_grown_encoder_gives_nearly_what_the_small_one_gave() -> None:
    torch.manual_seed(1)
    features, lengths = torch.randn(2, 200, 128), np.array([200, 163])
    small, large = load(CHECKPOINT, LABELS).eval(), load(CHECKPOINT, LABELS, layers=32).eval()
    assert len(large.nemo.encoder.layers) == 2 * len(small.nemo.encoder.layers)
    with torch.no_grad():
        given, grown = (model.encode(features, lengths) for model in (small, large))
    assert given.shape == grown.shape == (2, frames_of(lengths).max(), 144)
    assert torch.nn.functional.cosine_similarity(given[0], grown[0], dim=1).min() > 0.98


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="16 layers"):
        load(CHECKPOINT, LABELS, layers=24)


def test_the_mean_lies_between_checkpoints_and_counts_each_as_often_as_it_is_named() -> None:
    low = {"weight": torch.full((2, 3), 1.0), "steps": torch.tensor(7)}
    high = {"weight": torch.full((2, 3), 4.0), "steps": torch.tensor(9)}
    assert mean([low, high])["weight"].tolist() == [[2.5] * 3] * 2
    assert mean([low, low, high])["weight"].tolist() == [[2.0] * 3] * 2
    assert mean([low, high])["steps"] == 7


def test_checkpoints_of_different_models_have_no_mean() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mean([{"weight": torch.zeros(2)}, {"weight": torch.zeros(3)}])
