"""The peak of this process's memory."""

import numpy as np

from ears_edge.bench.memory import peak_bytes, resident_bytes

SLACK = 2**20
"""The kernel adds its counters up now and then."""


def test_the_peak_rises_with_what_is_held_and_never_falls() -> None:
    before = peak_bytes()
    held = np.ones(before + 32 * 2**20, np.uint8)
    high = peak_bytes()
    assert high >= len(held) - SLACK
    del held
    assert peak_bytes() >= high - SLACK


def test_what_is_resident_now_is_no_more_than_the_peak() -> None:
    held = np.ones(16 * 2**20, np.uint8)
    assert len(held) <= resident_bytes() <= peak_bytes() + SLACK
