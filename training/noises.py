"""Background sounds: coloured noise, hum, machines, music, babble, knocks; all computed, none recorded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from training.corpus import RATE, Speech

Noise = npt.NDArray[np.float32]
"""(N,) float32 of unit power."""

SECONDS = 14
KINDS = ("coloured", "coloured", "machine", "hum", "music", "babble", "babble", "knocks", "mixture", "talker")


def draw_noise(kind: str, voices: Sequence[Speech], rng: np.random.Generator) -> Noise:
    """One background of `SECONDS`; babble and other talkers are made of `voices`."""
    length = SECONDS * RATE
    match kind:
        case "coloured":
            sound = _coloured(length, rng)
        case "machine":
            sound = _machine(length, rng)
        case "hum":
            sound = _hum(length, rng) + _coloured(length, rng) * rng.uniform(0.05, 0.5)
        case "music":
            sound = _music(length, rng)
        case "babble":
            sound = np.sum([_talk(length, voices, rng) for _ in range(rng.integers(3, 9))], axis=0)
        case "talker":
            sound = _talk(length, voices, rng)
        case "knocks":
            sound = _knocks(length, rng) + _coloured(length, rng) * rng.uniform(0.02, 0.3)
        case _:
            pair = rng.choice(KINDS[:-2], 2)
            sound = np.sum([draw_noise(part, voices, rng) * rng.uniform(0.3, 1.0) for part in pair], axis=0)
    return np.asarray(sound / (np.sqrt(np.square(sound).mean()) + 1e-9), np.float32)


def _coloured(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose spectrum falls with the frequency, with a few broad bumps."""
    spectrum = fft.rfft(rng.standard_normal(length))
    hertz = np.linspace(0.0, RATE / 2, len(spectrum))
    gain = np.maximum(hertz, 30.0) ** -rng.uniform(0.0, 1.2)
    for _ in range(rng.integers(0, 4)):
        gain *= 1.0 + rng.uniform(0.0, 4.0) * np.exp(
            -(((hertz - rng.uniform(80, 5000)) / rng.uniform(50, 900)) ** 2)
        )
    return np.asarray(fft.irfft(spectrum * gain, length))


def _machine(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A fan, a vacuum cleaner, running water: noise that throbs, with a whine now and then."""
    seconds = np.arange(length) / RATE
    sound = _coloured(length, rng)
    sound /= np.sqrt(np.square(sound).mean())
    sound *= 1.0 + rng.uniform(0.0, 0.6) * np.sin(2 * np.pi * rng.uniform(0.5, 25.0) * seconds)
    if rng.random() < 0.5:
        whine = rng.uniform(120, 2500)
        sound += rng.uniform(0.1, 0.8) * np.sin(
            2 * np.pi * whine * seconds + 3.0 * np.sin(2 * np.pi * seconds)
        )
    return sound


def _hum(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    seconds, mains = np.arange(length) / RATE, rng.choice((50.0, 60.0))
    return np.asarray(
        sum(
            rng.uniform(0.1, 1.0)
            / harmonic
            * np.sin(2 * np.pi * mains * harmonic * seconds + rng.uniform(0, 6.3))
            for harmonic in range(1, int(rng.integers(4, 20)))
        )
    )


def _music(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Chords, a tune and a beat."""
    sound = np.zeros(length)
    beat = rng.uniform(0.25, 0.7)
    scale = rng.uniform(98, 220) * 2.0 ** (np.array((0, 2, 4, 5, 7, 9, 11, 12, 14, 16)) / 12)
    overtones, brightness = int(rng.integers(3, 9)), rng.uniform(0.6, 1.6)
    drums, swing = rng.uniform(0.0, 0.6), rng.uniform(0.2, 1.5)
    for step in range(int(SECONDS / beat)):
        start = int(step * beat * RATE)
        notes = [*rng.choice(scale, 3, replace=False)] if step % 4 == 0 else [2 * rng.choice(scale)]
        seconds = np.arange(min(length - start, int(RATE * (4 * beat if len(notes) > 1 else beat)))) / RATE
        decay = np.exp(-seconds * swing) * np.minimum(1.0, seconds * 80)
        for note in notes:
            for overtone in range(1, overtones):
                tone = np.sin(2 * np.pi * note * overtone * seconds)
                sound[start : start + len(seconds)] += decay * tone / overtone**brightness / len(notes)
        hit = rng.standard_normal(len(seconds)) * np.exp(-seconds * rng.uniform(20, 90)) * drums
        sound[start : start + len(seconds)] += hit
    return sound


def _knocks(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Dishes, keys, doors: short resonances at random times."""
    sound = np.zeros(length)
    for _ in range(rng.integers(4, 60)):
        start = rng.integers(0, length - RATE)
        seconds = np.arange(RATE // 2) / RATE
        ring = np.sin(2 * np.pi * rng.uniform(100, 5000) * seconds) + 0.5 * rng.standard_normal(len(seconds))
        sound[start : start + len(seconds)] += (
            ring * np.exp(-seconds * rng.uniform(15, 300)) * rng.uniform(0.1, 1.0)
        )
    return sound


def _talk(length: int, voices: Sequence[Speech], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Somebody speaks on and on, dulled as from another room."""
    sound, at = np.zeros(length), int(rng.integers(0, RATE))
    while at < length:
        said = voices[int(rng.integers(len(voices)))][: length - at]
        sound[at : at + len(said)] = said / 32768.0
        at += len(said) + int(rng.uniform(0.0, 0.6) * RATE)
    if rng.random() < 0.5:
        sound = signal.lfilter(*signal.butter(1, rng.uniform(800, 4000), fs=RATE), sound)
    return np.asarray(sound)
