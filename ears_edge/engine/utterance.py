"""One utterance: audio in, windows to decode out. Sans-I/O."""

from collections import deque

from ears_edge.dsp.features import ColumnBuffer, LogMel
from ears_edge.dsp.vad import VoiceActivity
from ears_edge.engine.chunking import Geometry, Run, Window, WindowPlanner
from ears_edge.units import F32, HOP, Samples


class Utterance:
    """Mel columns, voice activity and window plan of a run of audio that is decoded for itself.

    Positions are encoder frames or samples from its own start; `base` is where that lies in the session.
    """

    def __init__(self, base: Samples, geometry: Geometry, n_mels: int, voice: VoiceActivity) -> None:
        self.base = base
        self.samples = 0
        self.planned: deque[Window] = deque()
        """Windows to decode, in order. The one that is being decoded is still the first."""
        self.closed = False
        """No more audio comes."""
        self._geometry = geometry
        self._mel = LogMel(n_mels)
        self._columns = ColumnBuffer(n_mels)
        self._planner = WindowPlanner(geometry)
        self._voice = voice
        self._spoken: deque[bool] = deque()

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
            done, due = self._planner.done, self._planner.due
            self._plan(self._planner.plan(self._silences(done, due)), done)
        return pauses

    def close(self) -> None:
        """The audio ends here: what is left is the last window."""
        self._columns.append(self._mel.flush())
        self.closed = True
        done = self._planner.done
        total = -(-self._columns.end * HOP // self._geometry.frame)
        self._plan(self._planner.finish(total), done)

    def next_window(self) -> tuple[Window, bool] | None:
        """The window to decode next, and whether anybody spoke in the part of it that becomes final."""
        return (self.planned[0], self._spoken[0]) if self.planned else None

    def drop_window(self) -> None:
        """The first of the planned windows is done."""
        self.planned.popleft()
        self._spoken.popleft()

    def live_window(self, done: int) -> Window | None:
        """A look at everything so far, of which `done` frames are final; None while nobody speaks."""
        frames, g = self.frames, self._geometry
        if self._voice.last_speech <= max(done, frames - g.left) * g.frame or frames <= done:
            return None
        begin = max(self._planner.begin, done - g.left)
        return Window(begin, frames, frames, closes=False)

    def columns(self, window: Window) -> F32:
        """(T, n_mels) float32 columns of a window, the caller's own."""
        per_frame = self._geometry.frame // HOP
        return self._columns.copy(window.begin * per_frame, min(window.end * per_frame, self._columns.end))

    def forget(self, done: int) -> None:
        """Free the columns that no window will need, if `done` frames are final."""
        begins = [window.begin for window in self.planned]
        keep = min([*begins, self._planner.begin, max(0, done - self._geometry.left)])
        self._columns.forget(keep * self._geometry.frame // HOP)

    def _plan(self, window: Window, done: int) -> None:
        self.planned.append(window)
        self._spoken.append(self._voice.heard_speech(done * self._geometry.frame))

    def _silences(self, begin: int, end: int) -> list[Run]:
        size = self._geometry.frame
        found = self._voice.silences(begin * size, end * size)
        return [Run(-(-silence.start // size), silence.end // size) for silence in found]
