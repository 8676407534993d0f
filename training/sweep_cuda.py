"""The sweeps over a token-and-duration transducer's lattice on an NVIDIA GPU: see tdt_loss.py.

A block of threads a clip goes from diagonal to diagonal (frame + tokens written): every arc leads to a later
one, so the cells of a diagonal do not wait for each other.
"""

import math
from typing import Any

import torch
from numba import cuda

from training.tdt_loss import IMPOSSIBLE, NEVER

THREADS = 128


@cuda.jit(device=True)  # type: ignore[untyped-decorator]  # numba has no types
def _logaddexp(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low <= IMPOSSIBLE else high + math.log1p(math.exp(low - high))


@cuda.jit  # type: ignore[untyped-decorator]  # numba has no types
def _forward(  # noqa: PLR0917
    blank: Any, label: Any, duration: Any, frames: Any, labels: Any, alpha: Any,  # noqa: ANN401
) -> None:  # fmt: skip
    b, first = cuda.blockIdx.x, cuda.threadIdx.x
    last, full = frames[b], labels[b]
    for diagonal in range(last + full + 1):
        for u in range(first, full + 1, THREADS):
            t = diagonal - u
            if t < 0 or t > last:
                continue
            here = 0.0 if diagonal == 0 else NEVER
            for d in range(min(duration.shape[3], t + 1)):
                if d > 0 and (t < last or u == full):
                    path = alpha[b, t - d, u] + blank[b, t - d, u] + duration[b, t - d, u, d]
                    here = _logaddexp(here, path)
                if u > 0 and t < last:
                    path = alpha[b, t - d, u - 1] + label[b, t - d, u - 1] + duration[b, t - d, u - 1, d]
                    here = _logaddexp(here, path)
            alpha[b, t, u] = here
        cuda.syncthreads()


@cuda.jit  # type: ignore[untyped-decorator]  # numba has no types
def _backward(  # noqa: PLR0917
    blank: Any, label: Any, duration: Any, frames: Any, labels: Any, alpha: Any, beta: Any,  # noqa: ANN401
    d_blank: Any, d_label: Any, d_duration: Any,  # noqa: ANN401
) -> None:  # fmt: skip
    b, first = cuda.blockIdx.x, cuda.threadIdx.x
    last, full = frames[b], labels[b]
    total = alpha[b, last, full]
    if first == 0:
        beta[b, last, full] = 0.0
    cuda.syncthreads()
    for diagonal in range(last + full - 1, -1, -1):
        for u in range(first, full + 1, THREADS):
            t = diagonal - u
            if t < 0 or t >= last:
                continue
            ahead = NEVER
            for d in range(min(duration.shape[3], last - t + 1)):
                lasting = 0.0
                if d > 0 and (t + d < last or u == full):
                    path = beta[b, t + d, u] + blank[b, t, u] + duration[b, t, u, d]
                    ahead = _logaddexp(ahead, path)
                    share = math.exp(min(0.0, alpha[b, t, u] + path - total))
                    d_blank[b, t, u] -= share
                    lasting += share
                if u < full and t + d < last:
                    path = beta[b, t + d, u + 1] + label[b, t, u] + duration[b, t, u, d]
                    ahead = _logaddexp(ahead, path)
                    share = math.exp(min(0.0, alpha[b, t, u] + path - total))
                    d_label[b, t, u] -= share
                    lasting += share
                d_duration[b, t, u, d] = -lasting
            beta[b, t, u] = ahead
        cuda.syncthreads()


def sweep(
    blank: torch.Tensor,
    label: torch.Tensor,
    duration: torch.Tensor,
    frames: torch.Tensor,
    lengths: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, T, U + 1) log-probabilities, those of durations (B, T, U + 1, 5), all float32 on the GPU.

    Returns:
        (B,) losses, and their gradients with respect to the three; of a clip that has no path all are zero
        but the loss.
    """
    count, longest, columns = blank.shape
    alpha = blank.new_full((count, longest + 1, columns), NEVER)
    beta = torch.full_like(alpha, NEVER)
    _forward[count, THREADS](blank, label, duration, frames, lengths, alpha)
    rows = torch.arange(count, device=blank.device)
    total = alpha[rows, frames, lengths]
    slopes = [torch.zeros_like(part) for part in (blank, label, duration)]
    _backward[count, THREADS](blank, label, duration, frames, lengths, alpha, beta, *slopes)
    possible = total > IMPOSSIBLE
    d_blank, d_label, d_duration = (slope * possible.view(-1, *[1] * (slope.dim() - 1)) for slope in slopes)
    return -total, d_blank, d_label, d_duration
