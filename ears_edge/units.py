"""One clock and one array type: integer samples at 16 kHz, float32."""

from typing import Final, NewType, TypeAlias

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
"""float32 array; the docstring that hands one out gives its shape."""

Samples = NewType("Samples", int)
"""A position or length in samples at 16 kHz, counted from the session's first; intervals are half-open."""

SAMPLE_RATE: Final = 16_000
"""The engine's rate in Hz. Every other rate is resampled at the door."""

HOP: Final = 160
"""Samples between two feature frames (mel columns): 10 ms. Source: NeMo's FastConformer preprocessor."""


def seconds(samples: int) -> float:
    """Samples at 16 kHz -> seconds, to the millisecond. For wires and logs; never for arithmetic."""
    return round(samples / SAMPLE_RATE, 3)


def samples(seconds: float) -> Samples:
    """Seconds -> samples at 16 kHz, rounded to the nearest."""
    return Samples(round(seconds * SAMPLE_RATE))
