"""Log-mel features, incremental: each mel column is computed once, however the audio arrives."""

from functools import lru_cache
from typing import Final

import numpy as np

from ears_edge.units import F32, HOP, SAMPLE_RATE

N_FFT: Final = 512
WINDOW: Final = 400
"""Samples under the Hann window: 25 ms."""
PRE_EMPHASIS: Final = np.float32(0.97)
LOG_GUARD: Final = np.float32(2.0**-24)
STD_GUARD: Final = np.float32(1e-5)
"""Source of these constants: NeMo, AudioToMelSpectrogramPreprocessor and FilterbankFeatures."""

BATCH: Final = 8
"""Columns computed together. Fixed, since a matrix product's last bits depend on its shape: with it the
columns do not depend on how the audio was cut."""


class LogMel:
    """Samples in, finished mel columns out.

    Column i is centred on sample i * HOP and sees 200 samples on either side; before the first and after
    the last sample there are zeros, as in NeMo's centred STFT.
    """

    def __init__(self, n_mels: int) -> None:
        self._filters = mel_filters(n_mels)
        # float64: a float32 transform's error, small beside the loudest bin, is large beside the quietest.
        self._window = np.hanning(WINDOW)
        self._pending = np.zeros(WINDOW // 2, np.float32)  # starts where the next column's window starts
        self._last = np.float32(0)
        self._columns = 0
        self._samples = 0

    def feed(self, samples: F32) -> F32:
        """(N,) float32 at 16 kHz -> (K, n_mels) float32 columns now complete; K a multiple of BATCH."""
        self._take(samples)
        batches = (len(self._pending) - WINDOW + HOP) // (BATCH * HOP)
        return self._compute([BATCH] * batches)

    def flush(self) -> F32:
        """The columns that are left, so that all of them together are (samples // HOP)."""
        left = self._samples // HOP - self._columns
        self._pending = np.concatenate((self._pending, np.zeros(WINDOW, np.float32)))
        return self._compute([BATCH] * (left // BATCH) + [left % BATCH] * (left % BATCH > 0))

    def _take(self, samples: F32) -> None:
        if len(samples):
            emphasized = np.empty_like(samples)
            emphasized[0] = samples[0] - PRE_EMPHASIS * self._last
            np.subtract(samples[1:], PRE_EMPHASIS * samples[:-1], out=emphasized[1:])
            self._last = samples[-1]
            self._samples += len(samples)
            self._pending = np.concatenate((self._pending, emphasized))

    def _compute(self, batches: list[int]) -> F32:
        columns = np.empty((sum(batches), self._filters.shape[1]), np.float32)
        done = 0
        for size in batches:
            frames = np.lib.stride_tricks.sliding_window_view(self._pending[done * HOP :], WINDOW)
            spectrum = np.fft.rfft(frames[: (size - 1) * HOP + 1 : HOP] * self._window, N_FFT)
            power = np.square(np.abs(spectrum).astype(np.float32))
            np.matmul(power, self._filters, out=columns[done : done + size])
            done += size
        columns += LOG_GUARD
        np.log(columns, out=columns)
        self._pending = self._pending[done * HOP :]
        self._columns += done
        return columns


def normalize(columns: F32) -> F32:
    """(T, n_mels) log-mel columns of a window, T >= 2 -> same shape, each bin of mean 0, deviation 1.

    All columns must come from real audio: padding would shift the statistics.

    Source: NeMo, normalize_batch with `per_feature` (unbiased deviation plus 1e-5).
    """
    mean = columns.mean(axis=0, dtype=np.float32)
    centred: F32 = columns - mean
    variance = np.square(centred).sum(axis=0, dtype=np.float32) / np.float32(len(columns) - 1)
    centred /= np.sqrt(variance) + STD_GUARD
    return centred


@lru_cache(maxsize=4)
def mel_filters(n_mels: int) -> F32:
    """(N_FFT // 2 + 1, n_mels) float32 triangular filters from 0 to 8 kHz, each of unit area.

    Source: Slaney, Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
    """
    edges = _to_hz(np.linspace(0.0, _to_mel(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    filters32: F32 = np.ascontiguousarray(filters, dtype=np.float32)
    filters32.flags.writeable = False
    return filters32


_LINEAR_HZ: Final = 200.0 / 3
_BREAK_HZ: Final = 1000.0
_BREAK_MEL: Final = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP: Final = np.log(6.4) / 27.0


def _to_mel(hz: float) -> float:
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP) if hz >= _BREAK_HZ else hz / _LINEAR_HZ


def _to_hz(mel: "np.typing.NDArray[np.float64]") -> "np.typing.NDArray[np.float64]":
    return np.where(mel >= _BREAK_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)), _LINEAR_HZ * mel)


class ColumnBuffer:
    """The mel columns of an utterance that a window may still need; a position is a column's number."""

    def __init__(self, n_mels: int) -> None:
        self._store = np.empty((256, n_mels), np.float32)
        self._first = 0
        self._count = 0

    @property
    def end(self) -> int:
        """One past the last column."""
        return self._first + self._count

    def append(self, columns: F32) -> None:
        """Take (K, n_mels) further columns."""
        need = self._count + len(columns)
        if need > len(self._store):
            grown = np.empty((max(need, 2 * len(self._store)), self._store.shape[1]), np.float32)
            grown[: self._count] = self._store[: self._count]
            self._store = grown
        self._store[self._count : need] = columns
        self._count = need

    def copy(self, begin: int, end: int) -> F32:
        """(end - begin, n_mels) float32, the caller's own."""
        if not self._first <= begin <= end <= self.end:
            raise RuntimeError(f"columns {begin} to {end} of {self._first} to {self.end}")
        return self._store[begin - self._first : end - self._first].copy()

    def forget(self, before: int) -> None:
        """Drop the columns before this one."""
        drop = min(max(before - self._first, 0), self._count)
        if drop:
            self._store[: self._count - drop] = self._store[drop : self._count].copy()
            self._first += drop
            self._count -= drop
