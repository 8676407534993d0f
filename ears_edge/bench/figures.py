"""What is measured of one run, and the figures that many runs add up to. Pure arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ears_edge.wer import WordErrors, compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a target is measured."""

    sessions: int = 1
    """At once."""
    repeat: int = 1
    """How often each session hears each clip."""
    live: bool = False
    """The audio is given at the pace of speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One clip, heard once. All times are wall-clock seconds."""

    name: str
    """The clip's."""
    audio_s: float
    wall_s: float
    """From the first block given to the final text."""
    latency_s: float
    """From the end of the audio to the final text."""
    first_word_s: float | None = None
    """From the start of the audio to the first final word; None if none came before the final text."""
    word_lags_s: tuple[float, ...] = ()
    """For each word sent before the final text: from the moment its end was spoken to its arrival."""
    text: str = ""
    error: str = ""
    """The stable code of what ended the run; then the times mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How values are spread."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """The spread of any number of values; None if there are none."""
        if not values:
            return None
        ordered = sorted(values)
        return cls(p50=_rank(ordered, 50), p95=_rank(ordered, 95), p99=_rank(ordered, 99), max=ordered[-1])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` (above 0, up to 100) of the values do not exceed.

    That is the nearest-rank percentile: always one of the values, never something between two.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values")
    return _rank(sorted(values), percent)


def _rank(ordered: Sequence[float], percent: float) -> float:
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the runs of one clip, or of all clips, add up to. Failed runs count in `failed` alone."""

    runs: int
    failed: int
    audio_s: float
    """Audio heard, over all runs."""
    real_time_factor: Spread | None
    """Wall time a second of audio; None for live runs, which take as long as the audio by definition."""
    latency_s: Spread | None
    first_word_s: Spread | None
    """Live runs only, as `word_lag_s`."""
    word_lag_s: Spread | None
    errors: WordErrors | None
    """None if no transcript is given. Runs of a clip that counts several times count several times here."""


def add_up(runs: Iterable[Run], references: dict[str, str], *, live: bool) -> Figures:
    """Figures of some runs.

    Args:
        runs: Of one clip or of several.
        references: What was said, by the clip's name, where that is known.
        live: Whether the audio was given at the pace of speech.
    """
    runs = list(runs)
    good = [run for run in runs if not run.error]
    judged = [compare(references[run.name], run.text) for run in good if run.name in references]
    firsts = [run.first_word_s for run in good if run.first_word_s is not None]
    return Figures(
        runs=len(runs),
        failed=len(runs) - len(good),
        audio_s=sum(run.audio_s for run in good),
        real_time_factor=None
        if live
        else Spread.of([run.wall_s / run.audio_s for run in good if run.audio_s]),
        latency_s=Spread.of([run.latency_s for run in good]),
        first_word_s=Spread.of(firsts) if live else None,
        word_lag_s=Spread.of([lag for run in good for lag in run.word_lags_s]) if live else None,
        errors=sum(judged, WordErrors()) if judged else None,
    )
