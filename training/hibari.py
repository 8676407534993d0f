"""hibari: one natural voice with a parametric vocoder, and so very many throats and manners (Apache-2.0).

Its network gives spectra and pitch apart, so phonemes, lengths, formants, pitch, intonation, clearness and
breath are drawn for each sentence. About 170 times real time on a core.
"""

import importlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training import manner

RATE = 24_000
F32 = npt.NDArray[np.float32]
VOICED = 40.0
"""Hz; what is below has no pitch."""
SLURRED, MUDDY = 0.4, 2.0
"""Share of sentences whose spectra run into one another, and by how many frames of 12.5 ms at most."""
JITTER = 0.015
"""Largest standard deviation of a frame's pitch from where it should be, in nats."""


class Hibari:
    """The synthesizer, on one thread."""

    def __init__(self) -> None:
        package, runtime = importlib.import_module("hibari"), importlib.import_module("onnxruntime")
        self._model: Any = package.Hibari(threads=1)
        self._vocoder: Any = importlib.import_module("hibari.dsp")
        grapheme_to_phoneme = importlib.import_module("hibari.g2p").G2P
        self._phonemes = [grapheme_to_phoneme(british=british) for british in (False, True)]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self._network: Any = runtime.InferenceSession(
            manner.speeds_apart(Path(self._model.model_path).read_bytes()), options
        )

    def speak(self, text: str, rng: random.Random) -> F32:
        """Say one sentence as somebody drawn anew -> (N,) float32 at 24 kHz."""
        ids = self._model.ids(manner.said(self._phonemes[rng.random() < 0.2](text), rng))
        feeds = {
            "ids": np.asarray([ids], np.int64),
            "speed": np.float32(rng.uniform(0.75, 1.4)) / manner.lengths(len(ids), rng),
        }
        harmonic, phase, noise, rest, rest_phase, pitch = (row[0] for row in self._network.run(None, feeds))
        throat = rng.uniform(0.80, 1.18)
        width = rng.uniform(0.0, MUDDY) if rng.random() < SLURRED else 0.0
        harmonic, noise, rest = (_slurred(_warped(row, throat), width) for row in (harmonic, noise, rest))
        tilt = np.linspace(0.0, rng.uniform(-1.5, 1.5), len(harmonic), dtype=np.float32)[:, None]
        breath = rng.uniform(-1.0, 1.0)
        moved, chance = _melody(pitch, throat, rng), np.random.default_rng(rng.randrange(1 << 32))
        sound: F32 = self._vocoder.synth(
            harmonic + tilt, phase, noise + tilt + breath, rest + tilt, rest_phase, moved, chance
        )
        return sound


def _melody(pitch: F32, throat: float, rng: random.Random) -> F32:
    """(F,) Hz -> the same as somebody with that throat may have it, livelier or flatter."""
    voiced = pitch > VOICED
    middle = float(np.median(pitch[voiced])) if voiced.any() else 200.0
    register = rng.uniform(0.42, 0.75) if throat < 1.0 and rng.random() < 0.7 else rng.uniform(0.7, 1.45)
    moved = middle * register * (np.maximum(pitch, 1.0) / middle) ** rng.uniform(0.3, 1.4)
    shaken = np.random.default_rng(rng.randrange(1 << 32)).normal(0.0, rng.uniform(0.0, JITTER), len(pitch))
    return np.where(voiced, np.maximum(moved * np.exp(shaken), 55.0), pitch).astype(np.float32)


def _warped(spectrum: F32, factor: float) -> F32:
    """Stretch the frequency axis of (bins, frames) by `factor`: above 1 formants rise."""
    at = np.minimum(np.arange(len(spectrum)) / factor, len(spectrum) - 1.001)
    low = at.astype(np.intp)
    share = (at - low).astype(np.float32)[:, None]
    return np.asarray(spectrum[low] * (1.0 - share) + spectrum[low + 1] * share, np.float32)


def _slurred(spectrum: F32, width: float) -> F32:
    """Each frame of (bins, frames) a mean of those around it, `width` frames to either side."""
    reach = int(width)
    shares = 1.0 - np.abs(np.arange(-reach, reach + 1)) / (width + 1.0)
    return np.asarray(
        ndimage.correlate1d(spectrum, shares / shares.sum(), axis=1, mode="nearest"), np.float32
    )
