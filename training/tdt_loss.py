"""The token-and-duration transducer's loss, with exact gradients.

Source: Xu et al., "Efficient Sequence Transduction by Jointly Predicting Tokens and Durations" (2023); equal
to NeMo's TDTLossPytorch, sigma (logit under-normalization) included.
"""

import importlib
import math
from typing import Any

import numba
import numpy as np
import torch
from torch import nn

from training.lattice import Cells
from training.placing import F32, I64

DURATIONS = (0, 1, 2, 3, 4)
SIGMA = 0.02
NEVER = -1e30
IMPOSSIBLE = -1e29
"""What lies below this is as good as probability zero."""


@numba.njit(inline="always", fastmath=True)  # type: ignore[untyped-decorator]  # numba has no types
def _logaddexp(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b <= IMPOSSIBLE else a + math.log1p(math.exp(b - a))


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]  # numba has no types
def _sweep(  # noqa: C901, PLR0912, PLR0917  # numba inlines no closures; one loop over the lattice each way
    blank: F32, label: F32, duration: F32, frames: I64, labels: I64, loss: F32,
    d_blank: F32, d_label: F32, d_duration: F32,
) -> None:  # fmt: skip
    """Fill the losses and the gradients with respect to the log-probabilities, clip by clip.

    A blank takes 1 to 4 frames, and ends the clip when it lands on its end after the last label; a label
    takes 0 to 4 and never ends it.
    """
    for b in range(duration.shape[0]):
        last, full = frames[b], labels[b]
        alpha = np.full((last + 1, full + 1), NEVER)
        beta = np.full((last + 1, full + 1), NEVER)
        alpha[0, 0] = 0.0
        for t in range(last):
            for u in range(full + 1):
                here = alpha[t, u]
                if here <= IMPOSSIBLE:
                    continue
                for d in range(duration.shape[3]):
                    step = here + duration[b, t, u, d]
                    if d > 0 and (t + d < last or (t + d == last and u == full)):
                        alpha[t + d, u] = _logaddexp(alpha[t + d, u], step + blank[b, t, u])
                    if u < full and t + d < last:
                        alpha[t + d, u + 1] = _logaddexp(alpha[t + d, u + 1], step + label[b, t, u])
        total = alpha[last, full]
        loss[b] = -total
        if total <= IMPOSSIBLE:
            continue
        beta[last, full] = 0.0
        for t in range(last - 1, -1, -1):
            for u in range(full, -1, -1):
                ahead = NEVER
                for d in range(duration.shape[3]):
                    if d > 0 and (t + d < last or (t + d == last and u == full)):
                        path = beta[t + d, u] + blank[b, t, u] + duration[b, t, u, d]
                        ahead = _logaddexp(ahead, path)
                        share = math.exp(min(0.0, alpha[t, u] + path - total))
                        d_blank[b, t, u] -= share
                        d_duration[b, t, u, d] -= share
                    if u < full and t + d < last:
                        path = beta[t + d, u + 1] + label[b, t, u] + duration[b, t, u, d]
                        ahead = _logaddexp(ahead, path)
                        share = math.exp(min(0.0, alpha[t, u] + path - total))
                        d_label[b, t, u] -= share
                        d_duration[b, t, u, d] -= share
                beta[t, u] = ahead


def _on_cpu(
    blank: torch.Tensor,
    label: torch.Tensor,
    duration: torch.Tensor,
    frames: torch.Tensor,
    lengths: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    loss = torch.zeros(len(blank))
    slopes = [torch.zeros_like(part) for part in (blank, label, duration)]
    rows = (blank, label, duration, frames, lengths, loss, *slopes)
    _sweep(*(row.numpy() for row in rows))
    return loss, slopes[0], slopes[1], slopes[2]


class _TdtLoss(torch.autograd.Function):
    """One pass over the logits each way: the softmax's gradient is written down, not traced."""

    @staticmethod
    def forward(  # noqa: PLR0917  # torch passes them by position
        ctx: Any,  # noqa: ANN401  # torch's context takes any attribute
        logits: torch.Tensor,
        cells: Cells,
        labels: torch.Tensor,
        frames: torch.Tensor,
        lengths: torch.Tensor,
    ) -> torch.Tensor:
        tokens = logits[:, : -len(DURATIONS)].float()
        normalizer = torch.logsumexp(tokens, 1)
        # The last column has no next token; what it gathers is never read.
        upcoming = nn.functional.pad(labels, (0, 1))[cells.at[0], cells.at[2]]
        blank, label = tokens.new_full(cells.shape, NEVER), tokens.new_full(cells.shape, NEVER)
        duration = tokens.new_zeros((*cells.shape, len(DURATIONS)))
        blank[cells.at] = tokens[:, -1] - normalizer - SIGMA
        label[cells.at] = tokens.gather(1, upcoming[:, None])[:, 0] - normalizer - SIGMA
        lasting = torch.log_softmax(logits[:, -len(DURATIONS) :].float(), 1)
        duration[cells.at] = lasting
        sweep = importlib.import_module("training.sweep_cuda").sweep if logits.is_cuda else _on_cpu
        loss, *slopes = sweep(blank, label, duration, frames, lengths)
        ctx.save_for_backward(tokens, normalizer, lasting, upcoming)
        ctx.slopes = [slope[cells.at] for slope in slopes]
        ctx.clip, ctx.kind = cells.at[0], logits.dtype
        return loss

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401  # torch's context takes any attribute
        outer: torch.Tensor,
    ) -> tuple[torch.Tensor, None, None, None, None]:
        tokens, normalizer, lasting, upcoming = ctx.saved_tensors
        scale = outer[ctx.clip]
        d_blank, d_label = ctx.slopes[0] * scale, ctx.slopes[1] * scale
        d_duration = ctx.slopes[2] * scale[:, None]
        occupied = d_blank + d_label
        slope = tokens.new_empty(len(tokens), tokens.shape[1] + len(DURATIONS))
        d_tokens = slope[:, : -len(DURATIONS)]
        torch.sub(tokens, normalizer[:, None], out=d_tokens).exp_().mul_(-occupied[:, None])
        d_tokens[:, -1] += d_blank
        d_tokens.scatter_add_(1, upcoming[:, None], d_label[:, None])
        slope[:, -len(DURATIONS) :] = d_duration - lasting.exp() * d_duration.sum(-1, keepdim=True)
        return slope.to(ctx.kind), None, None, None, None


def tdt_loss(
    logits: torch.Tensor, cells: Cells, labels: torch.Tensor, frames: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of each clip, over the paths through the given cells -> (B,) float32.

    Args:
        logits: (N, V + 1 + 5), a row a cell: token logits, the blank last, then the five durations'.
        cells: N cells of the lattice.
        labels: (B, U) int64, padded with any token.
        frames: (B,) int64, the frames of each clip.
        lengths: (B,) int64, how many of the U labels are the clip's.
    """
    loss: torch.Tensor = _TdtLoss.apply(logits, cells, labels, frames, lengths)
    return loss
