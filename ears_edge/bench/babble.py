"""A voice that says nothing: vowels and hisses that a voice activity detector takes for speech.

Noise or a tone would not do to measure with: the engine does not decode what nobody said.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from ears_edge.units import F32, SAMPLE_RATE

_VOWELS: Final = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (660, 1720, 2410),
)
"""Three formants each, in Hz. Source: Peterson and Barney, Control Methods Used in a Study of the Vowels
(1952), averages of men."""
_WIDTHS: Final = (60.0, 80.0, 120.0)
"""Of the formants, in Hz."""
_GAINS: Final = (1.0, 0.6, 0.25)
_PITCH_HZ: Final = 120.0
_PARTIALS: Final = 31
_PEAK: Final = 0.3


def babble(seconds: float, *, seed: int = 0) -> F32:
    """(N,) float32 at 16 kHz, the same for the same seed."""
    length = round(seconds * SAMPLE_RATE)
    rng = np.random.default_rng(seed)
    sounds = [np.zeros(0)]
    total = 0
    while total < length:
        pitch = _PITCH_HZ * (1 + 0.15 * np.sin(2 * np.pi * 0.4 * total / SAMPLE_RATE))
        vowel = _vowel(
            _VOWELS[rng.integers(len(_VOWELS))], pitch, round(rng.uniform(0.12, 0.25) * SAMPLE_RATE)
        )
        hiss = rng.standard_normal(round(rng.uniform(0.03, 0.09) * SAMPLE_RATE))
        hiss = 0.15 * np.diff(hiss, prepend=0.0) * np.hanning(len(hiss))
        sounds += [vowel, hiss]
        total += len(vowel) + len(hiss)
    sound = np.concatenate(sounds)[:length]
    scaled: F32 = (sound * (_PEAK / max(float(np.abs(sound).max(initial=0.0)), _PEAK))).astype(np.float32)
    return scaled


def _vowel(formants: tuple[int, int, int], pitch: float, length: int) -> npt.NDArray[np.float64]:
    """A voiced sound that swells, fades and falls in pitch."""
    part = np.linspace(0.0, 1.0, length)
    hertz = pitch * (1 - 0.1 * part)
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    sound = np.zeros(length)
    for number in range(1, _PARTIALS + 1):
        gain = sum(
            loud / (1 + ((number * hertz - centre) / width) ** 2)
            for centre, width, loud in zip(formants, _WIDTHS, _GAINS, strict=True)
        )
        sound += gain * np.sin(number * phase)
    return sound * np.abs(np.sin(np.pi * part)) ** 0.6
