"""Clips played at another pace, into the rows of a batch: by a sinc under a Hann window.

A faster pace folds nothing back but the very top of the band.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import torch

from training.corpus import Speech
from training.placing import F32, I64, placed

TAPS = 8
PHASES = 512
"""Fractions of a sample that a CPU tells apart."""
FULL_SCALE = 32768.0


class Placed(NamedTuple):
    """K clips of the corpus, and where they go: (K,) each."""

    rows: I64
    """Of the batch."""
    starts: I64
    """Of each clip its first sample in the corpus."""
    counts: I64
    """Samples of the corpus."""
    begins: I64
    """First sample in the row."""
    paces: F32
    """Samples of the corpus a sample of the row."""


def play(speech: torch.Tensor, clips: Placed, sound: torch.Tensor) -> None:
    """Add clips to `sound`, (B, N) float32. `speech` is the corpus: (S,) int16, on the same device."""
    if sound.is_cuda:
        _play_at_once(speech, clips, sound)
    else:
        _play_each(speech.numpy(), *clips, sound.numpy(), WEIGHTS)


def _weights() -> F32:
    """(PHASES + 1, TAPS), a row a fraction of a sample."""
    taps = np.arange(1 - TAPS // 2, TAPS // 2 + 1)
    away = np.linspace(0.0, 1.0, PHASES + 1)[:, None] - taps
    window = 0.5 + 0.5 * np.cos(2 * np.pi / TAPS * away)
    return (np.sinc(away) * window / FULL_SCALE).astype(np.float32)


WEIGHTS = _weights()


@numba.njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]  # numba has no types
def _play_each(  # noqa: PLR0917  # numba takes them by position
    speech: Speech, rows: I64, starts: I64, counts: I64, begins: I64, paces: F32, sound: F32, weights: F32
) -> None:
    """On a CPU, with weights from a table: ten times as fast as for a whole batch at once."""
    for clip in range(len(rows)):
        row, count, begin, pace = sound[rows[clip]], counts[clip], begins[clip], paces[clip]
        said = speech[starts[clip] : starts[clip] + count]
        for n in range(begin, min(len(row), begin + int(count / pace))):
            at = (n - begin) * pace
            whole = int(at)
            weight = weights[int((at - whole) * PHASES + 0.5)]
            first = whole + 1 - TAPS // 2
            for tap in range(max(0, -first), min(TAPS, count - first)):
                row[n] += weight[tap] * said[first + tap]


def _play_at_once(speech: torch.Tensor, clips: Placed, sound: torch.Tensor) -> None:
    """On a GPU, the same for all clips and samples at once."""
    device = sound.device
    first, count, begin, pace = (placed(values, device)[:, None] for values in clips[1:])
    at = (torch.arange(sound.shape[1], device=device) - begin) * pace
    whole = at.floor()
    part = (at - whole).clamp_(min=1e-6)
    place, start = whole.long(), first + whole.long()
    # Each tap's sinc and window are sums of these three: sines are dear.
    wave = torch.sin(part * torch.pi) / torch.pi
    cosine, sine = torch.cos(part * (2 * torch.pi / TAPS)), torch.sin(part * (2 * torch.pi / TAPS))
    played, last = torch.zeros_like(at), len(speech) - 1
    for tap in range(1 - TAPS // 2, TAPS // 2 + 1):
        angle = 2 * math.pi / TAPS * tap
        window = cosine * (0.5 * math.cos(angle)) + sine * (0.5 * math.sin(angle)) + 0.5
        weight = window.mul_(wave).div_(part - tap)
        sample = speech[(start + tap).clamp_(0, last)]
        inside = (place >= -tap) & (place < count - tap)
        played.add_(weight.mul_(sample).mul_(inside), alpha=-1.0 if tap % 2 else 1.0)
    sound[placed(clips.rows, device)] += played.div_(FULL_SCALE)
