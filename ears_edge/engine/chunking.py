"""Window arithmetic: which frames are decoded together, and which of them become final. Pure.

Everything counts encoder frames from the start of the utterance; intervals are half-open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

from ears_edge.config import EngineConfig
from ears_edge.units import SAMPLE_RATE

GOOD_SILENCE_S: Final = 0.48
"""The latest silence this long is the best place to cut long speech."""
FAIR_SILENCE_S: Final = 0.24
"""Failing that, the longest of at least this length."""
LEAD_S: Final = 0.48
"""Silence kept in front of the speech that follows a cut."""


class Window(NamedTuple):
    """One decode: the encoder sees [begin, end), and what is said in front of `stop` becomes final."""

    begin: int
    stop: int
    end: int
    closes: bool
    """The decoder starts afresh behind `stop`."""


class Run(NamedTuple):
    """A run of silence, [start, end)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Lengths in encoder frames."""

    full: int
    """An utterance up to this long is decoded in one window."""
    left: int
    chunk: int
    right: int
    frame: int
    """Samples of one encoder frame."""

    @classmethod
    def of(cls, config: EngineConfig, *, frame: int) -> "Geometry":
        """The settings' seconds in frames of `frame` samples; the full window is rounded up."""
        per_second = SAMPLE_RATE / frame
        return cls(
            full=ceil(config.full_window_s * per_second),
            left=round(config.left_s * per_second),
            chunk=max(1, round(config.chunk_s * per_second)),
            right=round(config.right_s * per_second),
            frame=frame,
        )

    def frames(self, seconds: float) -> int:
        """Seconds in frames, rounded to the nearest."""
        return round(seconds * SAMPLE_RATE / self.frame)


class WindowPlanner:
    """Cuts one utterance into windows. Up to `full` frames there is one window, at the end.

    Beyond that it cuts where there is silence, and each part is decoded whole with a fresh decoder; where
    there is none, windows of left context, chunk and right context slide along and the decoder's state is
    carried on. Source: NeMo's buffered streaming inference (left, chunk, right).
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._start = 0
        self._done = 0
        self._slid = False

    @property
    def begin(self) -> int:
        """Where the next window begins: no frame before it will be needed again."""
        return max(self._start, self._done - self._geometry.left) if self._slid else self._start

    @property
    def done(self) -> int:
        """Frames before this one belong to windows that are planned."""
        return self._done

    @property
    def due(self) -> int:
        """Once more frames than this are there, `plan` must be called."""
        g = self._geometry
        return self._done + g.chunk + g.right if self._slid else self._start + g.full

    def plan(self, silences: Sequence[Run]) -> Window:
        """The next window, when the utterance goes on behind `due`.

        Args:
            silences: The runs of silence in [done, due), in order.
        """
        begin, due = self.begin, self.due
        cut = self._cut([run for run in silences if run.end > self._done])
        if cut is not None:
            self._start = self._done = cut
            self._slid = False
            return Window(begin, cut, cut, closes=True)
        self._done = due - self._geometry.right
        self._slid = True
        return Window(begin, self._done, due, closes=False)

    def finish(self, total: int) -> Window:
        """The last window of an utterance of `total` frames; nothing may be planned behind it."""
        window = Window(self.begin, total, total, closes=True)
        self._start = self._done = total
        self._slid = False
        return window

    def _cut(self, silences: Sequence[Run]) -> int | None:
        g = self._geometry
        earliest = self._done + 1
        good = [run for run in silences if run.end - run.start >= g.frames(GOOD_SILENCE_S)]
        fair = [run for run in silences if run.end - run.start >= g.frames(FAIR_SILENCE_S)]
        best = good[-1:] or sorted(fair, key=lambda run: run.end - run.start)[-1:]
        for run in best:
            cut = max((run.start + run.end) // 2, run.end - g.frames(LEAD_S))
            if cut >= earliest:
                return cut
        return None
