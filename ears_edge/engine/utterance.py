"""One utterance: audio in, windows to decode out. Sans-I/O."""

from collections import deque
from typing import Final, NamedTuple

from ears_edge.dsp.features import ColumnBuffer, LogMel
from ears_edge.dsp.vad import VoiceActivity
from ears_edge.engine.chunking import Geometry, Run, Window, WindowPlanner
from ears_edge.units import F32, HOP, Samples

MARGIN_S: Final = 0.48
"""Silence that is decoded with the speech, on either side. With more, the silence spoils the statistics by
which the features are normalized; with less, beginnings are lost that the voice activity detection misses."""


class Planned(NamedTuple):
    """A window, and what of it is worth decoding."""

    window: Window
    speech: Run | None
    """From the first speech in the window to the last, with a margin; None if nobody speaks in it."""


class Utterance:
    """Mel columns, voice activity and window plan of a run of audio that is decoded for itself.

    Positions are encoder frames or samples from its own start; `base` is where that lies in the session.
    """

    def __init__(self, base: Samples, geometry: Geometry, n_mels: int, voice: VoiceActivity) -> None:
        self.base = base
        self.samples = 0
        self.planned: deque[Planned] = deque()
        """Windows to decode, in order. The one that is being decoded is still the first."""
        self.closed = False
        """No more audio comes."""
        self._geometry = geometry
        self._mel = LogMel(n_mels)
        self._columns = ColumnBuffer(n_mels)
        self._planner = WindowPlanner(geometry)
        self._voice = voice

    @property
    def frames(self) -> int:
        """Whole encoder frames whose columns are complete."""
        return self._columns.end * HOP // self._geometry.frame

    def receive(self, block: F32) -> list[Samples]:
        """Take one block of at most an encoder frame; return where speech ended, if a pause was heard."""
        self.samples += len(block)
        pauses = self._voice.feed(block)
        self._columns.append(self._mel.feed(block))
        while self.frames > self._planner.due:
            done = self._planner.done
            self._plan(self._planner.plan(self._silences(done, self._planner.due)), done)
        return pauses

    def close(self) -> None:
        """The audio ends here: what is left is the last window."""
        self._columns.append(self._mel.flush())
        self._voice.finish()
        self.closed = True
        done = self._planner.done
        total = -(-self._columns.end * HOP // self._geometry.frame)
        self._plan(self._planner.finish(total), done)

    def live_look(self, done: int, patience: int) -> Planned | None:
        """A look at everything so far, of which `done` frames are final; None while nobody speaks.

        Args:
            done: Frames that are final.
            patience: Frames without speech after which looks are of no use.
        """
        frames, g = self.frames, self._geometry
        if self._voice.last_told <= max(done, frames - patience) * g.frame or frames <= done:
            return None
        window = Window(max(self._planner.begin, done - g.left), frames, frames, closes=False)
        speech = self._speech(window)
        return Planned(window, speech) if speech and speech.end > done else None

    def is_silent(self, begin: int, end: int) -> bool:
        """Whether nobody speaks in these frames, as far as is known."""
        return self._voice.speech(begin * self._geometry.frame, end * self._geometry.frame) is None

    def columns(self, begin: int, end: int) -> F32:
        """(T, n_mels) float32 columns of the frames [begin, end), the caller's own."""
        per_frame = self._geometry.frame // HOP
        return self._columns.copy(begin * per_frame, min(end * per_frame, self._columns.end))

    def drop_window(self) -> None:
        """The first of the planned windows is done; columns that no other needs are freed."""
        self.planned.popleft()
        begin = self.planned[0].window.begin if self.planned else self._planner.begin
        self._columns.forget(begin * self._geometry.frame // HOP)

    def _plan(self, window: Window, done: int) -> None:
        speech = self._speech(window)
        if speech and speech.end <= done:
            speech = None
        elif speech and not window.closes:
            speech = Run(speech.start, window.end)  # where its decoder stops, the next goes on
        self.planned.append(Planned(window, speech))

    def _speech(self, window: Window) -> Run | None:
        size, margin = self._geometry.frame, self._geometry.frames(MARGIN_S)
        found = self._voice.speech(window.begin * size, window.end * size)
        if found is None:
            return None
        return Run(
            max(window.begin, found.start // size - margin),
            min(window.end, -(-found.end // size) + margin),
        )

    def _silences(self, begin: int, end: int) -> list[Run]:
        size = self._geometry.frame
        found = self._voice.silences(begin * size, end * size)
        return [Run(-(-silence.start // size), silence.end // size) for silence in found]
