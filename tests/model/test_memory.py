"""What a window leaves behind in memory."""

import numpy as np
import pytest

from ears_edge.asr.acoustic import LONG_COLUMNS, AcousticModel
from ears_edge.bench.memory import resident_bytes
from ears_edge.models.folder import ModelFolder, resolve

LONGEST = 6000
"""Columns: a minute."""
MEBI = 2**20


@pytest.mark.skipif(not resident_bytes(), reason="reads /proc")
def test_a_long_window_gives_its_memory_back() -> None:
    model = AcousticModel(ModelFolder.open(resolve("embedded")), threads=1)
    columns = np.random.default_rng(0).normal(size=(LONGEST, model.n_mels)).astype(np.float32)
    model.encode(columns[:LONG_COLUMNS])
    before = resident_bytes()
    model.encode(columns)
    assert resident_bytes() < before + 20 * MEBI
