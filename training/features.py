"""The product's log-mel features for a batch of whole clips, and their warping and masking."""

import numpy as np
import numpy.typing as npt
import torch

from ears_edge.dsp.features import LOG_GUARD, N_FFT, PRE_EMPHASIS, STD_GUARD, WINDOW, mel_filters
from ears_edge.units import HOP
from training.placing import placed

Lengths = npt.NDArray[np.int64]
"""(B,), on the CPU: to ask the device for them would make it wait."""

MELS = 128
LIKE = 16
"""Batches are some of these columns long, so that a GPU meets the same shapes again."""
WARPED = 0.6
"""Share of clips that get another throat and another pace."""
MASKED = 0.45
"""Share of clips with masks: a model that has learnt few of its clips by heart needs few."""


def log_mel(sound: torch.Tensor, lengths: Lengths) -> torch.Tensor:
    """(B, N) float32 at 16 kHz -> (B, N // 160, 128) float32 columns, as the product computes them.

    What lies behind a clip's length counts as zero; columns of it mean nothing.
    """
    sound = sound * within(lengths, sound)
    emphasized = torch.cat((sound[:, :1], sound[:, 1:] - float(PRE_EMPHASIS) * sound[:, :-1]), 1)
    padded = torch.nn.functional.pad(emphasized, (WINDOW // 2, WINDOW))
    frames = padded.unfold(1, WINDOW, HOP)[:, : sound.shape[1] // HOP]
    window = placed(np.hanning(WINDOW).astype(np.float32), sound.device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames * window, N_FFT))
    power = spectrum.square().sum(-1)
    return (power @ placed(mel_filters(MELS).copy(), sound.device) + float(LOG_GUARD)).log_()


def warped(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> tuple[torch.Tensor, Lengths]:
    """Another throat and another pace: the mel axis and the time axis stretched, each by up to 14 %."""
    count, device = len(columns), columns.device
    chosen = rng.random(count) < WARPED
    high = placed(np.where(chosen, rng.uniform(0.9, 1.12, count), 1.0).astype(np.float32), device)
    pace = np.where(chosen, rng.uniform(0.88, 1.14, count), 1.0).astype(np.float32)
    mels = torch.arange(float(MELS), device=device)
    bins = (mels * high[:, None]).clamp(max=MELS - 1.001)
    # As a matrix for each clip: a matrix product is far faster than gathering along the last axis.
    columns = columns @ (1.0 - (bins[:, None, :] - mels[:, None]).abs()).clamp(min=0.0)
    stretched = (lengths * pace).astype(np.int64)
    longest = -(-int(stretched.max()) // LIKE) * LIKE
    times = torch.arange(longest, device=device) / placed(pace, device)[:, None]
    times = torch.minimum(times, placed(lengths, device)[:, None] - 1.001)
    low = times.long()
    rows = torch.arange(count, device=device)[:, None]
    share = (times - low)[..., None]
    return torch.lerp(columns[rows, low], columns[rows, low + 1], share), stretched


def normalize(columns: torch.Tensor, lengths: Lengths) -> torch.Tensor:
    """(B, T, 128) -> each bin of each clip of mean 0, deviation 1, as the product does; zero behind it."""
    inside = within(lengths, columns)[..., None]
    counts = placed(lengths, columns.device)[:, None, None]
    mean = (columns * inside).sum(1, keepdim=True) / counts
    centred = (columns - mean) * inside
    variance = centred.square().sum(1, keepdim=True) / (counts - 1)
    return centred / (variance.sqrt() + float(STD_GUARD))


def masked(columns: torch.Tensor, lengths: Lengths, rng: np.random.Generator) -> torch.Tensor:
    """Normalized columns; some clips have up to two bands and some spans of time set to the mean.

    Source: Park et al., SpecAugment (2019).
    """
    count, device = len(columns), columns.device
    chosen = rng.random(count) < MASKED
    mels, at = torch.arange(MELS, device=device), torch.arange(columns.shape[1], device=device)
    width = rng.integers(0, 24, (2, count)) * chosen
    bands = _between(mels, rng.integers(0, MELS - width), width)
    number = np.arange(1 + columns.shape[1] // 150)[:, None]
    width = rng.integers(0, np.minimum(24, lengths // 8 + 1), (len(number), count))
    width *= chosen & (number < 1 + lengths // 150)
    spans = _between(at, rng.integers(0, lengths - width), width)
    return columns.masked_fill(bands[:, None, :] | spans[:, :, None], 0.0)


def _between(at: torch.Tensor, start: Lengths, width: Lengths) -> torch.Tensor:
    """(N,), (K, B), (K, B) -> (B, N) bool: what lies within one of K stretches."""
    first, last = (placed(edge, at.device)[:, :, None] for edge in (start, start + width))
    return ((at >= first) & (at < last)).any(0)


def within(lengths: Lengths, batch: torch.Tensor) -> torch.Tensor:
    """(B,), (B, N, ...) -> (B, N) bool on the batch's device: what belongs to the clips."""
    ends = placed(lengths, batch.device)
    return torch.arange(batch.shape[1], device=batch.device) < ends[:, None]
