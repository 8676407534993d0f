"""Windows padded up to a few fixed lengths, for devices that compile a model for one shape."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from ears_edge.errors import InferenceError, ModelError
from ears_edge.units import F32

LENGTHS: Final = (320, 800, 1600, 3200, 6400)
"""Columns: 3.2 s for commands, 8 s, 16 s for the longest window of the default settings; 64 s for any."""
MAX_OPEN: Final = 3
"""Sessions held at once: each may hold all weights. The default settings need no more; of more, the one that
was used longest ago is closed."""


class Run(Protocol):
    """Runs an encoder once."""

    def __call__(self, columns: F32, length: int) -> F32:
        """(T, n_mels) float32 columns, of which the first `length` count -> (T', D) float32, trimmed to them.

        Raises:
            InferenceError: The model failed on them.
        """
        ...


class Buckets:
    """A `Run` of any length, made of ones of fixed lengths, each opened when it is first needed."""

    def __init__(self, open_one: Callable[[int], Run]) -> None:
        """Open nothing yet.

        Args:
            open_one: Takes a length in columns; what it gives is called with that many.
        """
        self._open_one = open_one
        self._open: OrderedDict[int, Run] = OrderedDict()

    def __call__(self, columns: F32, length: int) -> F32:
        """See `Run`. The first window of a length waits until the model is compiled for it."""
        bucket = next((most for most in LENGTHS if len(columns) <= most), None)
        if bucket is None:
            raise InferenceError(f"{len(columns)} columns; this device takes {LENGTHS[-1]}")
        padding = np.zeros((bucket - len(columns), columns.shape[1]), np.float32)
        try:
            run = self.ready(bucket)
        except ModelError as exc:
            raise InferenceError(str(exc)) from exc
        return run(np.concatenate((columns, padding)), length)

    def ready(self, bucket: int) -> Run:
        """The one of this length, which counts as used now.

        Raises:
            ModelError: It can't be opened.
        """
        run = self._open.pop(bucket, None)
        if run is None:
            while len(self._open) >= MAX_OPEN:
                self._open.popitem(last=False)
            run = self._open_one(bucket)
        self._open[bucket] = run
        return run
