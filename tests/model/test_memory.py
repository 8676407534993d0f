"""What a window leaves behind in memory."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from ears_edge.asr.acoustic import LONG_COLUMNS, AcousticModel
from ears_edge.bench.memory import resident_bytes
from ears_edge.models.folder import ModelFolder, resolve

LONGEST = 6000
"""Columns: a minute."""
MEBI = 2**20


def left_by_a_long_window() -> int:
    """Bytes that the process holds after it more than after a short one."""
    model = AcousticModel(ModelFolder.open(resolve("embedded")), threads=1)
    columns = np.random.default_rng(0).normal(size=(LONGEST, model.n_mels)).astype(np.float32)
    model.encode(columns[:LONG_COLUMNS])
    before = resident_bytes()
    model.encode(columns)
    return resident_bytes() - before


@pytest.mark.skipif(not resident_bytes(), reason="reads /proc")
def test_a_long_window_gives_its_memory_back() -> None:
    # In a process of its own: what others freed before makes the C library keep more, or less, in this one.
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        assert alone.submit(left_by_a_long_window).result() < 20 * MEBI
