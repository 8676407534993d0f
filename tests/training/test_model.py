"""The float model and its checkpoint. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr.models")

from safetensors.torch import load_file, save_file  # noqa: E402  # only where it is installed

from training.mean import mean  # noqa: E402  # only where they are installed
from training.model import FLOAT, LAYER, depth, frames_of, grown, load, read_labels  # noqa: E402  # as above
from training.optimizer import Optimizer  # noqa: E402  # as above

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "training" / FLOAT
HELD = depth(load_file(CHECKPOINT))
LABELS = read_labels(ROOT / "ears_edge" / "models" / "embedded" / "vocab.txt")


@pytest.mark.parametrize("more", [HELD // 4, HELD])
def test_a_grown_encoder_gives_nearly_what_the_small_one_gave(more: int) -> None:
    torch.manual_seed(1)
    features, lengths = torch.randn(2, 200, 128), np.array([200, 163])
    small, large = load(CHECKPOINT, LABELS).eval(), load(CHECKPOINT, LABELS, layers=HELD + more).eval()
    assert len(large.nemo.encoder.layers) == len(small.nemo.encoder.layers) + more
    with torch.no_grad():
        given, after = (model.encode(features, lengths) for model in (small, large))
    assert given.shape == after.shape == (2, frames_of(lengths).max(), 144)
    assert torch.nn.functional.cosine_similarity(given[0], after[0], dim=1).min() > 0.98


def test_an_encoder_does_not_shrink() -> None:
    with pytest.raises(ValueError, match=f"{HELD} layers can't shrink to {HELD - 1}"):
        load(CHECKPOINT, LABELS, layers=HELD - 1)


@pytest.mark.parametrize("frozen", [0, HELD // 2])
def test_frozen_layers_stay_as_they_are_and_the_others_learn(frozen: int) -> None:
    torch.manual_seed(2)
    model = load(CHECKPOINT, LABELS)
    model.train()
    model.freeze(frozen)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = Optimizer(model)
    model.encode(torch.randn(2, 200, 128), np.array([200, 163])).square().mean().backward()
    optimizer.step(1e-3)
    after = model.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    layers = {int(found[2]) for name in moved if (found := LAYER.fullmatch(name))}
    assert layers == set(range(frozen, HELD))
    assert any("pre_encode" in name for name in moved) == (frozen == 0)


@pytest.mark.parametrize(("held", "layers"), [(2, 3), (2, 4), (3, 7), (4, 4)])
def test_new_layers_are_spread_evenly_and_the_old_ones_keep_their_order(held: int, layers: int) -> None:
    weights = {
        f"nemo.encoder.layers.{number}.norm_conv.weight": torch.tensor(number) for number in range(held)
    }
    larger = [int(value) for value in grown(weights, layers).values()]
    assert depth(grown(weights, layers)) == len(larger) == layers
    counts = [larger.count(number) for number in range(held)]
    assert max(counts) - min(counts) <= 1
    assert larger == sorted(larger)


def test_the_mean_lies_between_checkpoints_and_counts_each_as_often_as_it_is_named() -> None:
    low = {"weight": torch.full((2, 3), 1.0), "steps": torch.tensor(7)}
    high = {"weight": torch.full((2, 3), 4.0), "steps": torch.tensor(9)}
    assert mean([low, high])["weight"].tolist() == [[2.5] * 3] * 2
    assert mean([low, low, high])["weight"].tolist() == [[2.0] * 3] * 2
    assert mean([low, high])["steps"] == 7


def test_a_shallower_checkpoint_counts_as_it_would_have_grown(tmp_path: Path) -> None:
    name, steps = "nemo.encoder.layers.{}.conv.pointwise_conv2.weight", "nemo.encoder.layers.{}.steps"
    shallow = {name.format(0): torch.full((2, 2), 4.0), steps.format(0): torch.tensor(5)}
    deep = {name.format(0): torch.full((2, 2), 2.0), name.format(1): torch.full((2, 2), 6.0)}
    deep |= {steps.format(0): torch.tensor(7), steps.format(1): torch.tensor(7)}
    save_file(mean([shallow, deep]), tmp_path / "both")
    both = load_file(tmp_path / "both")
    assert both[name.format(0)].tolist() == [[3.0] * 2] * 2
    assert both[name.format(1)].tolist() == [[3.0] * 2] * 2  # a new layer's last products are zero
    assert both[steps.format(1)] == 5


def test_checkpoints_of_different_models_have_no_mean() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        mean([{"weight": torch.zeros(2)}, {"weight": torch.zeros(3)}])
