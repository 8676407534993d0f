"""Muon for the encoder's matrices, AdamW for everything else, both over one flat vector of weights.

Sources: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), its scale by Liu et
al., "Muon is scalable for LLM training" (2025); AdamW by Loshchilov and Hutter (2019).
"""

import itertools
import re
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from training.placing import in_bfloat16

BETAS, EPSILON, DECAY = (0.9, 0.98), 1e-8, 1e-3
MOMENTUM = 0.95
CLIP_NORM = 2.0
AVERAGED_STEPS = 2000
"""The weights that are exported are a running mean over about so many steps, if nothing else is asked for: a
few batches of a minute tell little of where to go, and what one step loses another has."""
MATRIX = re.compile(r"nemo\.encoder\.layers\..*(linear.*|pointwise_conv\d)\.weight")
TURNS = ((3.4445, -4.7750, 2.0315),) * 5
"""Of the Newton-Schulz iteration: a, b, c of aX + bXX'X + c(XX')^2 X; Jordan et al. (2024)."""
LIKE_ADAM = 0.2
"""Root mean square of a matrix' step at a rate of 1, as AdamW's steps have it; Liu et al. (2025)."""


class _Stack(NamedTuple):
    """Matrices of one shape, which lie one after the other in the flat vector."""

    first: int
    last: int
    shape: tuple[int, int]

    def of(self, flat: torch.Tensor) -> torch.Tensor:
        """(K, rows, columns): a view."""
        return flat[self.first : self.last].view(-1, *self.shape)


class Optimizer:
    """One vector of all weights, with one for the gradients, for each moment and for the running mean.

    Flat, since hundreds of small tensors cost more than their sums; the matrices first, shape by shape.
    """

    def __init__(self, model: nn.Module, averaged: int = AVERAGED_STEPS) -> None:
        self._averaged = averaged
        stacked: dict[tuple[int, int], list[nn.Parameter]] = {}
        others = []
        for name, row in model.named_parameters():
            if not row.requires_grad:
                continue
            if MATRIX.fullmatch(name):
                stacked.setdefault((row.shape[0], row.shape[1]), []).append(row)
            else:
                others.append(row)
        parameters = [row for rows in stacked.values() for row in rows] + others
        self.weights = torch.cat([row.detach().flatten() for row in parameters])
        self.slope = torch.zeros_like(self.weights)
        self.mean, self.square = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.average = self.weights.clone()
        self.steps = 0
        at = 0
        for row in parameters:
            row.data = self.weights[at : at + row.numel()].view_as(row)
            row.grad = self.slope[at : at + row.numel()].view_as(row)
            at += row.numel()
        sizes = [len(rows) * shape[0] * shape[1] for shape, rows in stacked.items()]
        ends = list(itertools.accumulate(sizes))
        self._stacks = [
            _Stack(end - size, end, shape) for shape, size, end in zip(stacked, sizes, ends, strict=True)
        ]
        self._matrices = sum(sizes)

    def step(self, rate: float) -> torch.Tensor:
        """Apply the gradients, then clear them -> their norm before clipping. A broken one counts as none."""
        if dist.is_initialized():
            dist.all_reduce(self.slope)
            self.slope /= dist.get_world_size()
        norm = self.slope.norm()
        self.slope.mul_((CLIP_NORM / (norm + 1e-6)).clamp(max=1.0)).nan_to_num_(0.0)
        self.steps += 1
        self.weights.mul_(1 - rate * DECAY)
        self._muon(rate)
        self._adam(rate)
        self.average.lerp_(self.weights, max(1 / self._averaged, 1 / self.steps))
        self.slope.zero_()
        return norm

    def _muon(self, rate: float) -> None:
        slope, mean = self.slope[: self._matrices], self.mean[: self._matrices]
        mean.lerp_(slope, 1 - MOMENTUM)
        slope.lerp_(mean, MOMENTUM)
        rank, count = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        mine = slice(rank, None, count)
        for stack in self._stacks:
            matrices = stack.of(slope)
            turned = orthogonal(matrices[mine])
            matrices.zero_()[mine] = turned * (LIKE_ADAM * max(stack.shape) ** 0.5)
        if dist.is_initialized():
            dist.all_reduce(slope)
        self.weights[: self._matrices].add_(slope, alpha=-rate)

    def _adam(self, rate: float) -> None:
        rest = slice(self._matrices, None)
        slope, mean, square = self.slope[rest], self.mean[rest], self.square[rest]
        mean.lerp_(slope, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        unbiased = rate / (1 - BETAS[0] ** self.steps)
        spread = (square / (1 - BETAS[1] ** self.steps)).sqrt_().add_(EPSILON)
        self.weights[rest].addcdiv_(mean, spread, value=-unbiased)

    def state(self) -> dict[str, Any]:
        """What a later run needs to go on."""
        return {"average": self.average, "mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; the weights are the model's."""
        for name in ("average", "mean", "square"):
            getattr(self, name).copy_(state[name])
        self.steps = state["steps"]


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """(K, rows, columns) float32 -> the nearest matrices whose singular values are all about 1."""
    turned = matrices.bfloat16() if in_bfloat16(matrices.device) else matrices
    tall = turned.shape[1] > turned.shape[2]
    if tall:
        turned = turned.mT.contiguous()
    turned = turned / (turned.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in TURNS:
        square = turned @ turned.mT
        turned = torch.baddbmm(turned, torch.baddbmm(square, square, square, beta=b, alpha=c), turned, beta=a)
    return turned.mT if tall else turned
