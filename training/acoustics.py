"""From a clean clip to one as a microphone in a room would hear it: drawn anew each time it is used."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soxr
from scipy import fft

from training.corpus import RATE, Speech
from training.noises import KINDS, SECONDS, Noise, draw_noise
from training.rooms import Response, room_response

Sound = npt.NDArray[np.float32]
"""(N,) float32 mono at 16 kHz in [-1, 1]."""

LONGEST_PAUSES = (0.75, 1.6)
"""Seconds of silence before and after the words. Recorders stop late: real clips end with about a second."""
ROOMS = 250
NOISES = 120


class Acoustics:
    """Rooms, backgrounds and microphones. `voices` are clips that others may say in the background."""

    def __init__(self, voices: Sequence[Speech], rng: np.random.Generator) -> None:
        self._rng = rng
        self._rooms: list[Response] = [room_response(rng) for _ in range(ROOMS)]
        kinds = [KINDS[i % len(KINDS)] for i in range(NOISES)]
        self._wordless = [number for number, kind in enumerate(kinds) if kind != "talker"]
        self._noises: list[Noise] = [draw_noise(kind, voices, rng) for kind in kinds]

    def heard(self, speech: Speech, hardness: float) -> Sound:
        """(N,) int16 clean -> float32 with silence around it, another pace, a room, noise, a microphone.

        `hardness` from 0 to 1: how likely rooms and noise are, and how loud the noise may be.
        """
        rng = self._rng
        sound = np.asarray(speech, np.float32) / np.float32(32768)
        if rng.random() < 0.6:
            sound = soxr.resample(sound, RATE, RATE * rng.uniform(0.87, 1.15), quality="LQ")
        pauses = (np.zeros(int(self._pause(longest) * RATE), np.float32) for longest in LONGEST_PAUSES)
        sound = np.concatenate((next(pauses), sound, next(pauses)))
        if rng.random() < 0.6 * hardness:
            sound = _convolve(sound, self._rooms[rng.integers(ROOMS)])
        sound /= np.abs(sound).max() + 1e-6
        if rng.random() < 0.5 + 0.4 * hardness:
            sound = self._among_noise(sound, hardness)
        if rng.random() < 0.12:
            self._click(sound)
        return self._recorded(sound)

    def silence(self) -> Sound:
        """A background alone, or next to nothing."""
        rng = self._rng
        length = int(rng.uniform(0.8, 6.0) * RATE)
        sound = (
            self._background(length, talkers=False) if rng.random() < 0.8 else np.zeros(length, np.float32)
        )
        return self._recorded(sound + rng.standard_normal(length).astype(np.float32) * np.float32(1e-3))

    def _pause(self, longest: float) -> float:
        """Seconds before or after the words: often short, now and then none at all."""
        rng = self._rng
        return float(rng.uniform(0.0, 0.05) if rng.random() < 0.2 else longest * rng.uniform(0.1, 1.0) ** 2)

    def _click(self, sound: Sound) -> None:
        """Add the click of a switch near one end."""
        rng = self._rng
        length = min(len(sound), RATE // 10)
        ring = rng.standard_normal(length) * np.exp(-np.arange(length) / RATE * rng.uniform(50, 600))
        at = int(rng.uniform(0.0, 0.1) * (len(sound) - length))
        at = at if rng.random() < 0.6 else len(sound) - length - at
        sound[at : at + length] += (ring * rng.uniform(0.02, 0.5)).astype(np.float32)

    def _background(self, length: int, *, talkers: bool = True) -> Sound:
        """Somebody who talks alone may be behind speech, but is no silence: that would teach not to hear."""
        rng = self._rng
        noise = self._noises[rng.choice(NOISES if talkers else self._wordless)]
        start = rng.integers(0, SECONDS * RATE - length) if length < SECONDS * RATE else 0
        noise = (
            np.resize(noise[start:], length) if len(noise) - start < length else noise[start : start + length]
        )
        return _convolve(noise, self._rooms[rng.integers(ROOMS)]) if rng.random() < 0.3 else noise.copy()

    def _among_noise(self, sound: Sound, hardness: float) -> Sound:
        power = np.square(sound).mean()
        quiet = self._rng.random() < 0.3
        loud = 30.0 * self._rng.uniform(1.0 - hardness, 1.0) ** 0.7
        ratio = self._rng.uniform(20.0, 45.0) if quiet else loud
        noise = self._background(len(sound))
        level = np.sqrt(power / (np.square(noise).mean() + 1e-9) * 10.0 ** (-ratio / 10.0))
        return np.asarray(sound + level * noise, np.float32)

    def _recorded(self, sound: Sound) -> Sound:
        """What the microphone and the line make of it."""
        rng = self._rng
        if rng.random() < 0.6:
            sound = self._coloured(sound)
        sound = sound / (np.abs(sound).max() + 1e-6)
        if rng.random() < 0.12:
            drive = rng.uniform(1.0, 5.0)
            sound = np.clip(sound * drive, -1, 1) if rng.random() < 0.5 else np.tanh(sound * drive)
        sound = sound * np.float32(10.0 ** rng.uniform(-1.8, 0.0))
        if rng.random() < 0.08:
            narrow = soxr.resample(sound, RATE, RATE // 2, quality="LQ")
            companded = np.sign(narrow) * np.log1p(255 * np.minimum(np.abs(narrow), 1.0)) / np.log(256)
            companded = np.round(companded * 127) / 127
            narrow = np.sign(companded) * (256 ** np.abs(companded) - 1) / 255
            sound = soxr.resample(narrow, RATE // 2, RATE, quality="LQ")
        if rng.random() < 0.5:
            sound = sound + rng.standard_normal(len(sound)).astype(np.float32) * np.float32(
                10.0 ** rng.uniform(-5, -2.7)
            )
        return np.asarray(np.clip(np.round(sound * 32768), -32768, 32767) / 32768, np.float32)

    def _coloured(self, sound: Sound) -> Sound:
        """A tilt, two bumps or dents, and the ends of the band cut off."""
        rng = self._rng
        length = fft.next_fast_len(len(sound), real=True)
        spectrum = fft.rfft(sound, length)
        hertz = np.linspace(0.0, RATE / 2, len(spectrum), dtype=np.float32)
        gain = (1.0 + hertz / 1000.0) ** np.float32(rng.uniform(-0.8, 0.7))
        for _ in range(2):
            dent = (hertz - rng.uniform(200, 6000)) / rng.uniform(100, 1500)
            gain *= 10.0 ** (rng.uniform(-0.5, 0.5) * np.exp(-dent * dent))
        if rng.random() < 0.35:
            gain /= 1.0 + (hertz / rng.uniform(2800, 7500)) ** 10
        if rng.random() < 0.5:
            gain /= 1.0 + (rng.uniform(50, 350) / np.maximum(hertz, 1.0)) ** 4
        return np.asarray(fft.irfft(spectrum * gain, length)[: len(sound)], np.float32)


def _convolve(sound: Sound, response: Response) -> Sound:
    length = fft.next_fast_len(len(sound) + len(response), real=True)
    return np.asarray(
        fft.irfft(fft.rfft(sound, length) * fft.rfft(response, length), length)[: len(sound)], np.float32
    )
