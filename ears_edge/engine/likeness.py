"""Whether two encoders of a model hear the same: rewritten, or on another device."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.tdt import greedy
from ears_edge.dsp.features import normalize
from ears_edge.models.folder import ModelFolder
from ears_edge.units import F32

MIN_COSINE: Final = 0.999
"""Between the outputs of two encoders that hear the same."""
CUTS: Final = (1.0, 0.61, 0.23)
"""Parts of the golden clip that are compared: lengths of different remainders."""


class Heard(NamedTuple):
    """What an encoder makes of the golden clip."""

    outputs: Sequence[F32]
    """For each cut, (T', D) float32."""
    tokens: Sequence[int]
    """Of the whole clip."""


def hear(model: AcousticModel, folder: ModelFolder, columns: F32) -> Heard:
    """(T, n_mels) float32 log-mel columns, not normalized -> what the model makes of them.

    Raises:
        InferenceError: It failed.
    """
    outputs = [model.encode(normalize(columns[: int(len(columns) * cut)])) for cut in CUTS]
    tokens, _ = greedy(
        outputs[0],
        model.initial_state(),
        model.joint,
        vocabulary=model.vocabulary,
        blank=model.vocabulary - 1,
        max_symbols=folder.config.max_tokens_per_step,
    )
    return Heard(outputs, [token.id for token in tokens])


def likeness(first: Heard, second: Heard) -> float:
    """The worst cosine between two encoders' outputs, over all windows; 0 if their shapes differ."""
    worst = 1.0
    for a, b in zip(first.outputs, second.outputs, strict=True):
        if a.shape != b.shape:
            return 0.0
        norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
        worst = min(worst, float(np.vdot(a, b)) / norms if norms else 0.0)
    return worst
