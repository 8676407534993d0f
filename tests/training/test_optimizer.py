"""Muon and AdamW. Runs where the training's requirements are installed."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402  # only where the training's requirements are
from torch import multiprocessing, nn  # noqa: E402

from training.optimizer import MATRIX, Optimizer, orthogonal  # noqa: E402

STEPS = 30


def network() -> nn.Module:
    """Two matrices that Muon turns, and what is left to AdamW, under the names that NeMo gives them."""
    torch.manual_seed(3)
    layer = nn.ModuleDict(
        {"linear1": nn.Linear(12, 24, bias=False), "linear2": nn.Linear(24, 12), "norm": nn.LayerNorm(12)}
    )
    encoder = nn.ModuleDict({"layers": nn.ModuleList([layer])})
    return nn.ModuleDict({"nemo": nn.ModuleDict({"encoder": encoder})})


def loss_of(model: nn.Module, number: int) -> Any:  # noqa: ANN401  # a tensor, where torch is installed
    """How far the network is from turning its input round, on the batch of this number."""
    given = torch.randn(64, 12, generator=torch.Generator().manual_seed(number))
    layer = model["nemo"]["encoder"]["layers"][0]
    return (
        (layer["norm"](layer["linear2"](torch.relu(layer["linear1"](given)))) - given.flip(1)).square().mean()
    )


def trained(numbers: list[list[int]]) -> Any:  # noqa: ANN401  # a tensor, where torch is installed
    """The weights after a step for each list: of the mean gradient of its batches."""
    model = network()
    optimizer = Optimizer(model)
    for batches in numbers:
        for number in batches:
            (loss_of(model, number) / len(batches)).backward()
        optimizer.step(0.01)
    return optimizer.weights


def one_of_two(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", world_size=2, rank=rank)
    torch.save(trained([[2 * step + rank] for step in range(STEPS)]), folder / str(rank))
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(3, 20, 50), (2, 50, 20), (1, 16, 16)])
def test_matrices_are_turned_to_the_nearest_orthogonal_ones(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    given = torch.randn(shape) * 100
    turned = orthogonal(given).float()
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    sizes = torch.linalg.svdvals(turned)
    assert 0.3 < sizes.min() <= sizes.max() < 1.3
    assert torch.nn.functional.cosine_similarity(turned.flatten(1), (left @ right).flatten(1)).min() > 0.95


def test_it_learns_and_the_network_has_the_weights() -> None:
    model = network()
    before = loss_of(model, 0).item()
    optimizer = Optimizer(model)
    assert sum(MATRIX.fullmatch(name) is not None for name, _ in model.named_parameters()) == 2
    for number in range(1, 200):
        loss_of(model, number).backward()
        optimizer.step(0.01)
    assert loss_of(model, 0) < before / 4


def test_a_broken_gradient_moves_nothing() -> None:
    model = network()
    optimizer = Optimizer(model)
    optimizer.slope.fill_(torch.nan)
    before = optimizer.weights.clone()
    optimizer.step(0.01)
    assert torch.allclose(optimizer.weights, before, rtol=1e-4)
    assert not optimizer.slope.any()


def test_two_processes_do_the_same_as_one(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (tmp_path,), 2)
    alone = trained([[2 * step, 2 * step + 1] for step in range(STEPS)])
    for rank in "01":
        # In bfloat16 inside, so the last digits of a gradient show.
        assert (torch.load(tmp_path / rank) - alone).abs().max() < 0.02 * alone.abs().max()


def test_it_goes_on_from_its_state() -> None:
    weights = trained([[number] for number in range(6)])
    model = network()
    first = Optimizer(model)
    for number in range(3):
        loss_of(model, number).backward()
        first.step(0.01)
    other = network()
    other.load_state_dict(model.state_dict())
    second = Optimizer(other)
    second.restore(first.state())
    for number in range(3, 6):
        loss_of(other, number).backward()
        second.step(0.01)
    assert torch.equal(second.weights, weights)
