"""Compare ways to do the same thing on a machine that others use too: in turn, in one run, by ratios."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeAlias

Contestants: TypeAlias = Mapping[str, Callable[[], object]]
"""Name -> what is timed."""


def interleaved(contestants: Contestants, *, rounds: int) -> dict[str, list[float]]:
    """Run all contestants once a round, each round beginning with another one.

    What slows the machine for a while slows all of them. One round before the first is not counted.

    Returns:
        Seconds by round, for each contestant.
    """
    order = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for turn in range(-1, rounds):
        first = turn % len(order)
        for name in (*order[first:], *order[:first]):
            start = time.perf_counter()
            contestants[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """How many times faster `fast` is: the median over the rounds of the ratio within a round."""
    return median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))
