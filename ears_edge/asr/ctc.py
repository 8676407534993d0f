"""How likely whole texts are by a CTC head: a second opinion on the readings of a beam search.

The head is a matrix that was trained beside a transducer, on the same encoder frames. It knows nothing of
what comes after what, so it has no sentence in mind: of "ten of clubs" a transducer that was taught commands
makes "turn off". Pure, but for reading `ctc.npz` beside a model.

Source: Graves et al. 2006, "Connectionist temporal classification" (the forward variables, rescaled so that
they do not vanish); Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
recognition" (one head judges the readings of the other).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np

from ears_edge.asr.tables import Array, tables
from ears_edge.units import F32

RESCALED: Final = 8
"""Frames after which the forward variables are brought back to a sum of 1; float64 bears far more."""
SMALLEST: Final = 1e-30
"""No chance of a token on a frame is taken for less: nothing is impossible."""


class CtcHead:
    """The matrix of one model. Shared by all sessions, of which it keeps nothing."""

    def __init__(self, weight: Array, bias: Array, *, temperature: float = 1.0) -> None:
        """Take the tables.

        Args:
            weight: (V, D), for a vocabulary of V with blank, which is its last token.
            bias: (V,).
            temperature: What its logits are divided by.

        Raises:
            ValueError: They do not fit together, or are no numbers.
        """
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:  # noqa: PLR2004  # a matrix
            raise ValueError(f"a weight of shape {weight.shape} does not fit to a bias of {bias.shape}")
        self._weight = np.ascontiguousarray(weight.T / temperature, np.float32)
        self._bias = np.asarray(bias / temperature, np.float32)
        if not (np.isfinite(self._weight).all() and np.isfinite(self._bias).all()):
            raise ValueError("expected numbers")
        self._blank = len(bias) - 1

    @classmethod
    def load(cls, path: Path, *, vocabulary: int, size: int, temperature: float = 1.0) -> Self:
        """Read `ctc.npz`, for a vocabulary of so many with blank, and encoder frames of `size`.

        Raises:
            ModelNotFoundError: It is missing.
            ModelCorruptError: It can't be read, or is of another model.
        """
        with tables(path, "ctc_weight") as arrays:
            weight, bias = arrays["weight"], arrays["bias"]
            if weight.shape != (vocabulary, size):
                raise ValueError(f"a weight of shape {weight.shape}, where {(vocabulary, size)} is expected")
            return cls(weight, bias, temperature=temperature)

    def scores(self, frames: F32, texts: Sequence[Sequence[int]]) -> list[float]:
        """(T, D) float32 encoder frames and N texts as token ids -> the log-probability of each.

        A text that needs more frames than there are gets a very low one.
        """
        count, longest = len(texts), max(map(len, texts), default=0)
        if not count:
            return []
        # Before, between and behind the tokens there may be blanks.
        labels = np.full((count, 2 * longest + 1), self._blank)
        lengths = np.array([len(text) for text in texts])
        for row, text in zip(labels, texts, strict=True):
            row[1 : 2 * len(text) : 2] = text
        places = np.arange(labels.shape[1])
        chances = self._chances(frames)[:, labels].astype(np.float64)
        chances *= places <= 2 * lengths[:, None]
        # A blank may be passed over, but not that between two of the same token.
        passing = np.zeros(labels.shape)
        passing[:, 1:2] = 1.0
        passing[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
        # Two places more in front, from where nothing comes.
        reached = np.zeros((count, labels.shape[1] + 2))
        reached[:, 1] = 1.0
        nats = np.zeros(count)
        for t, chance in enumerate(chances):
            step = reached[:, 2:] + reached[:, 1:-1]
            step += passing * reached[:, :-2]
            step *= chance
            reached[:, 2:] = step
            reached[:, 1] = 0.0
            if t % RESCALED == RESCALED - 1:
                total = np.maximum(step.sum(axis=1), np.finfo(float).tiny)
                reached /= total[:, None]
                nats += np.log(total)
        rows = np.arange(count)
        ends = reached[rows, 2 + 2 * lengths] + reached[rows, 1 + 2 * lengths]
        found: list[float] = (nats + np.log(np.maximum(ends, np.finfo(float).tiny))).tolist()
        return found

    def _chances(self, frames: F32) -> F32:
        """(T, D) -> (T, V) probabilities."""
        chances: F32 = frames @ self._weight
        chances += self._bias
        chances -= chances.max(axis=1, keepdims=True)
        np.exp(chances, out=chances)
        chances /= chances.sum(axis=1, keepdims=True)
        np.maximum(chances, SMALLEST, out=chances)
        return chances
