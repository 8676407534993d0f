"""The transducer's loss and its pruned lattice. Runs where the training's requirements are installed."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from training.lattice import Cells, all_cells, near  # noqa: E402  # only where the training's requirements are
from training.tdt_loss import DURATIONS, SIGMA, tdt_loss  # noqa: E402

FRAMES, TOKENS, PIECES = 4, 2, 3
"""Few enough that every path can be written down."""


def paths(frames: int, tokens: int) -> Iterator[list[tuple[int, int, bool, int]]]:
    """Every path of a clip: (frame, tokens before, whether a token is written, frames taken)."""

    def onward(frame: int, written: int) -> Iterator[list[tuple[int, int, bool, int]]]:
        if frame == frames:
            if written == tokens:
                yield []
            return
        for taken in DURATIONS:
            if taken and frame + taken <= frames:
                for rest in onward(frame + taken, written):
                    yield [(frame, written, False, taken), *rest]
            if written < tokens and frame + taken < frames:
                for rest in onward(frame + taken, written + 1):
                    yield [(frame, written, True, taken), *rest]

    return onward(0, 0)


def by_hand(logits: np.ndarray, labels: list[int]) -> float:
    """The loss of one clip's (T, U + 1, V + 1 + 5) logits, path by path."""
    pieces = logits[..., : -len(DURATIONS)]
    pieces = pieces - np.log(np.exp(pieces).sum(-1, keepdims=True)) - SIGMA
    lasting = logits[..., -len(DURATIONS) :]
    lasting = lasting - np.log(np.exp(lasting).sum(-1, keepdims=True))
    chance = sum(
        math.exp(
            sum(
                pieces[t, u, labels[u] if token else -1] + lasting[t, u, taken] for t, u, token, taken in path
            )
        )
        for path in paths(len(logits), len(labels))
    )
    return -math.log(chance)


def whole(frames: list[int], lengths: list[int]) -> Cells:
    blank = np.zeros((len(frames), max(frames)), np.float32)
    label = np.zeros((*blank.shape, max(lengths)), np.float32)
    return near(blank, label, np.array(frames), np.array(lengths), band=100)


def test_the_loss_is_that_of_all_paths_and_its_gradient_is_exact() -> None:
    torch.manual_seed(1)
    dense = torch.randn(2, FRAMES, TOKENS + 1, PIECES + 1 + len(DURATIONS))
    labels, frames, lengths = [[2, 0], [1, 0]], [FRAMES, FRAMES - 1], [TOKENS, 1]
    cells = whole(frames, lengths)
    logits = dense[cells.at].requires_grad_()

    def loss(rows: Any) -> Any:  # noqa: ANN401  # tensors, where torch is installed
        return tdt_loss(rows, cells, torch.tensor(labels), torch.tensor(frames), torch.tensor(lengths))

    expected = [
        by_hand(dense[0].numpy(), labels[0]),
        by_hand(dense[1, : FRAMES - 1, :2].numpy(), labels[1][:1]),
    ]
    found = loss(logits)
    assert np.allclose(found.detach().numpy(), expected, atol=1e-5)
    found.sum().backward()
    for row, column in ((0, 0), (3, PIECES), (5, 2), (len(logits) - 1, PIECES + 2)):
        step = torch.zeros_like(logits)
        step[row, column] = 1e-2
        with torch.no_grad():
            slope = (loss(logits + step).sum() - loss(logits - step).sum()) / 2e-2
        assert float(logits.grad[row, column]) == pytest.approx(float(slope), abs=1e-3)


def test_a_narrow_band_follows_the_alignment_and_holds_both_ends() -> None:
    frames, tokens, said_at = 40, 10, np.arange(10) * 4
    blank = np.full((1, frames), -0.1, np.float32)
    label = np.full((1, frames, tokens), -9.0, np.float32)
    blank[0, said_at] = -9.0
    label[0, said_at, np.arange(tokens)] = -0.1
    clip, frame, token = near(blank, label, np.array([frames]), np.array([tokens]), band=2).at
    kept = set(zip(frame.tolist(), token.tolist(), strict=True))
    assert not clip.any()
    assert (0, 0) in kept
    assert (frames - 1, tokens) in kept
    assert all((t, u) in kept for t, u in zip(said_at.tolist(), range(tokens), strict=True))
    assert max(abs(u - (t // 4 + 1)) for t, u in kept) <= 2
    assert len(kept) < frames * (tokens + 1) / 2


def test_a_clip_with_more_tokens_than_frames_keeps_its_whole_lattice() -> None:
    blank, label = np.zeros((1, 3), np.float32), np.zeros((1, 3, 5), np.float32)
    assert len(near(blank, label, np.array([3]), np.array([5]), band=1).at[0]) == 3 * 6


def test_a_wide_band_and_the_whole_lattice_are_the_same_cells() -> None:
    wide, every = whole([4, 3], [2, 1]), all_cells(np.array([4, 3]), np.array([2, 1]), "cpu")
    assert wide.shape == every.shape
    assert all((one == other).all() for one, other in zip(wide.at, every.at, strict=True))


SIMULATED = """
import torch
from training import sweep_cuda, tdt_loss

class OnArrays:
    def __init__(self, kernel):
        self.kernel = kernel
    def __getitem__(self, grid):
        return lambda *rows: self.kernel[grid](*(row.numpy() for row in rows))

torch.manual_seed(3)
frames, lengths = torch.tensor([11, 7, 1]), torch.tensor([4, 2, 3])
chances = torch.log_softmax(torch.randn(3, 11, 5, 2), -1)
durations = torch.log_softmax(torch.randn(3, 11, 5, 5), -1)
rows = (chances[..., 0].contiguous(), chances[..., 1].contiguous(), durations, frames, lengths)
sweep_cuda.THREADS = 4
sweep_cuda._forward, sweep_cuda._backward = OnArrays(sweep_cuda._forward), OnArrays(sweep_cuda._backward)
for found, expected in zip(sweep_cuda.sweep(*rows), tdt_loss._on_cpu(*rows)):
    assert expected.abs().sum() > 0
    inside = torch.ones_like(found, dtype=torch.bool)
    if found.dim() > 1:
        for clip in range(3):
            inside[clip, frames[clip]:], inside[clip, :, lengths[clip] + 1:] = False, False
    assert ((found - expected) * inside).abs().max() <= 1e-5 * expected.abs().max()
"""


def test_the_gpus_sweeps_find_what_the_cpus_find() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    subprocess.run([sys.executable, "-c", SIMULATED], check=True, env=environment)  # noqa: S603
