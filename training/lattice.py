"""Which cells of the transducer's lattice are worth computing: those near the CTC head's alignment.

The joint network runs once a cell, which is most of a step's cost for long sentences; far from where the
words are said, the cells are as good as impossible. Source of the idea: Kuang et al., "Pruned RNN-T for fast,
memory-efficient ASR training" (2022), which prunes by a smaller joint network instead.
"""

from typing import NamedTuple

import numba
import numpy as np
import torch

from training.placing import F32, I64, placed

BAND = 8
"""Tokens before and after the aligned one; commands are hardly longer, and so keep their whole lattice."""


class Cells(NamedTuple):
    """N cells of a batch, clip by clip, frame by frame."""

    at: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    """Of each cell: clip, frame, and how many tokens were written before; (N,) int64 each."""
    shape: tuple[int, int, int]
    """Of the whole lattice: clips, frames, tokens + 1."""


def all_cells(frames: I64, lengths: I64, device: str | torch.device) -> Cells:
    """The whole lattices of clips of so many frames and tokens: (B,) each."""
    widths, counts = placed(lengths + 1, device), placed(frames * (lengths + 1), device)
    first = counts.cumsum(0) - counts
    clips = torch.arange(len(frames), device=device)
    total = int((frames * (lengths + 1)).sum())
    clip = torch.repeat_interleave(clips, counts, output_size=total)
    number = torch.arange(total, device=device) - first[clip]
    width = widths[clip]
    return Cells(
        (clip, number // width, number % width), (len(frames), int(frames.max()), int(lengths.max()) + 1)
    )


def near(blank: F32, label: F32, frames: I64, lengths: I64, band: int = BAND) -> Cells:
    """The cells within `band` tokens of the best alignment; all of a clip with more tokens than frames.

    Args:
        blank: (B, T) log-probabilities of the blank.
        label: (B, T, U) those of each clip's own tokens.
        frames: (B,) how many of the T frames are the clip's.
        lengths: (B,) how many of the U tokens are the clip's.
        band: tokens on either side.
    """
    low, high = _bounds(blank, label, frames, lengths, band)
    widths = (high - low + 1).ravel()
    kept = np.flatnonzero(np.arange(blank.shape[1]) < frames[:, None])
    widths = widths[kept]
    first = np.repeat(np.cumsum(widths) - widths, widths)
    at = np.repeat(kept, widths)
    token = np.arange(len(at)) - first + low.ravel()[at]
    clip, frame, token = (torch.from_numpy(row) for row in (at // blank.shape[1], at % blank.shape[1], token))
    return Cells((clip, frame, token), (*blank.shape, label.shape[2] + 1))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _bounds(blank: F32, label: F32, frames: I64, lengths: I64, band: int) -> tuple[I64, I64]:
    """(B, T) first and last token count of each frame, by Viterbi over blank, label, blank, label, blank."""
    low, high = np.zeros(blank.shape, np.int64), np.zeros(blank.shape, np.int64)
    for b in range(blank.shape[0]):
        last, full = frames[b], lengths[b]
        high[b, :] = full
        if full == 0 or last < full:
            continue
        states = 2 * full + 1
        score = np.full(states, -np.inf, np.float32)
        score[0], score[1] = blank[b, 0], label[b, 0, 0]
        steps = np.zeros((last, states), np.int8)
        for t in range(1, last):
            # Backwards, so that a state still sees the frame before in the states below it.
            for s in range(states - 1, -1, -1):
                best, step = score[s], 0
                if s > 0 and score[s - 1] > best:
                    best, step = score[s - 1], 1
                # Equal neighbours need a blank between them in CTC; here it makes no difference to the band.
                if s > 1 and s % 2 == 1 and score[s - 2] > best:
                    best, step = score[s - 2], 2
                score[s] = best + (label[b, t, s // 2] if s % 2 == 1 else blank[b, t])
                steps[t, s] = step
        at = states - 1 if score[states - 1] > score[states - 2] else states - 2
        for t in range(last - 1, -1, -1):
            written = (at + 1) // 2
            low[b, t] = max(0, written - band)
            high[b, t] = min(full, written + band)
            at -= steps[t, at]
        # Both ends are where every path begins and ends.
        low[b, 0], high[b, last - 1] = 0, full
    return low, high
