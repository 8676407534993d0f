"""The product's log-mel features for whole clips at once, and their masking and warping."""

import numpy as np

from ears_edge.dsp.features import LOG_GUARD, N_FFT, PRE_EMPHASIS, WINDOW, mel_filters, normalize
from ears_edge.units import F32, HOP

MELS = 128
_WINDOW = np.hanning(WINDOW).astype(np.float32)


def log_mel(sound: F32) -> F32:
    """(N,) float32 at 16 kHz -> (N // 160, 128) float32, as the product computes them, but for rounding."""
    emphasized = np.append(sound[:1], sound[1:] - PRE_EMPHASIS * sound[:-1])
    padded = np.pad(emphasized, (WINDOW // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(sound) // HOP]
    spectrum = np.fft.rfft(frames * _WINDOW, N_FFT)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.asarray(np.log(power @ mel_filters(MELS) + LOG_GUARD), np.float32)


def warped(columns: F32, rng: np.random.Generator) -> F32:
    """Another throat and another pace: the mel axis and the time axis stretched, each by up to 12 %."""
    high, pace = rng.uniform(0.9, 1.12), rng.uniform(0.88, 1.14)
    bins = np.minimum(np.arange(MELS) * high, MELS - 1.001)
    times = np.minimum(np.arange(int(len(columns) * pace)) / pace, len(columns) - 1.001)
    for at, axis in ((bins, 1), (times, 0)):
        low = at.astype(np.intp)
        share = (at - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share
        columns = np.take(columns, low, axis) * (1 - share) + np.take(columns, low + 1, axis) * share
    return columns


def masked(columns: F32, rng: np.random.Generator) -> F32:
    """Normalized columns with up to two bands and some spans of time set to the mean.

    Source: Park et al., SpecAugment (2019).
    """
    for _ in range(2):
        width = rng.integers(0, 24)
        start = rng.integers(0, MELS - width)
        columns[:, start : start + width] = 0.0
    for _ in range(1 + len(columns) // 150):
        width = rng.integers(0, min(24, len(columns) // 8 + 1))
        start = rng.integers(0, len(columns) - width)
        columns[start : start + width] = 0.0
    return columns


__all__ = ["MELS", "log_mel", "masked", "normalize", "warped"]
