"""The voices: each synthesizer says a sentence as a speaker drawn anew.

A speaker's size is changed by playing the sound at another rate (pitch and formants go together), with the
pace corrected before, so that small people do not speak faster.
"""

import importlib
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import soundfile

from training.hibari import RATE as HIBARI_RATE
from training.hibari import Hibari
from training.kokoro import Kokoro, Sound, draw_style

MANNERED = 0.7
"""Share of Kokoro's sentences that are said in a manner (manner.py); the rest is as the network says it.

Of 60 sentences Whisper tiny.en had 4 % wrong as they are, 8 % with lengths drawn, 16 % with all of a manner.
"""


class Spoken(NamedTuple):
    """One sentence as it was said."""

    sound: Sound
    rate: int
    """Hz; not always the synthesizer's own."""
    speaker: str


class Synthesizer(Protocol):
    """Says sentences, each as another speaker."""

    def __call__(self, text: str, rng: random.Random) -> Spoken:
        """Say one sentence."""


def kokoro(voices: Path, vocoder: Path | None = None) -> Synthesizer:
    """Kokoro-82M (see kokoro.py): the most natural one, and the slowest without a vocoder."""
    model = Kokoro(voices, vocoder)

    def speak(text: str, rng: random.Random) -> Spoken:
        name, style, british = draw_style(model.styles, rng)
        size = rng.uniform(0.88, 1.13) if rng.random() < 0.6 else 1.0
        drawn = rng if rng.random() < MANNERED else None
        sound = model.speak(text, style, british=british, speed=rng.uniform(0.8, 1.3) / size, rng=drawn)
        return Spoken(sound, round(model.rate * size), name)

    return speak


def hibari() -> Synthesizer:
    """One natural voice, but very many throats and manners (see hibari.py)."""
    model = Hibari()
    return lambda text, rng: Spoken(model.speak(text, rng), HIBARI_RATE, "heart")


def flite() -> Synthesizer:
    """Five voices of flite (BSD-like): unit selection and diphones, 60 to 280 times real time."""

    def speak(text: str, rng: random.Random) -> Spoken:
        voice, size = rng.choice(("rms", "slt", "awb", "kal16", "rms", "slt", "awb", "kal")), _size(rng)
        stretch = f"duration_stretch={size * rng.uniform(0.8, 1.2):.3f}"
        sound, rate = _run("flite", "-voice", voice, "--setf", stretch, "-t", text, "-o")
        return Spoken(sound, round(rate * size), voice)

    return speak


def espeak() -> Synthesizer:
    """espeak-ng's formant synthesis (GPL tool, its output is used): accents and voice variants."""
    accents = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-gb-x-gbclan", "en-029")
    variants = ("", "+f2", "+f3", "+f4", "+f5", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7")

    def speak(text: str, rng: random.Random) -> Spoken:
        voice, size = rng.choice(accents) + rng.choice(variants), _size(rng)
        pace, pitch = round(rng.uniform(130, 195) / size), rng.randint(15, 75)
        sound, rate = _run("espeak-ng", "-v", voice, "-s", str(pace), "-p", str(pitch), text, "-w")
        return Spoken(sound, round(rate * size), voice)

    return speak


def festival() -> Synthesizer:
    """Three voices of festival (BSD-like): slt by HTS, kal and ked by diphones."""

    def speak(text: str, rng: random.Random) -> Spoken:
        voice, size = (
            rng.choice(("cmu_us_slt_arctic_hts", "kal_diphone", "ked_diphone", "ked_diphone")),
            _size(rng),
        )
        pace = f"(Parameter.set 'Duration_Stretch {size * rng.uniform(0.85, 1.2):.3f})"
        sound, rate = _run("text2wave", "-eval", f"(voice_{voice})", "-eval", pace, "-o", stdin=text)
        return Spoken(sound, round(rate * size), voice)

    return speak


def rhvoice(voices: Sequence[str] = ("alan", "bdl", "clb", "slt")) -> Synthesizer:
    """Four voices of RHVoice (LGPL tool): parametric, learnt from recordings, about 30 times real time."""

    def speak(text: str, rng: random.Random) -> Spoken:
        voice, size = rng.choice(voices), _size(rng)
        pace, pitch = round(100 * rng.uniform(0.85, 1.35) / size), rng.randint(75, 135)
        sound, rate = _run("RHVoice-test", "-p", voice, "-r", str(pace), "-t", str(pitch), "-o", stdin=text)
        return Spoken(sound, round(rate * size), voice)

    return speak


def strangers() -> Synthesizer:
    """RHVoice's evgeniy-eng and lyubov, who speak with an accent: to choose between models, not to train on.

    What is derived from their data may not be passed on; a word error rate may. The training leaves out the
    clips of a tool that has no share (`listening.SHARES`).
    """
    return rhvoice(("evgeniy-eng", "lyubov"))


def pico() -> Synthesizer:
    """Two voices of SVOX Pico (Apache-2.0): an American and a British woman, about 200 times real time."""
    engine: Any = importlib.import_module("py_nanotts").NanoTTS()

    def speak(text: str, rng: random.Random) -> Spoken:
        voice, size = rng.choice(("en-US", "en-GB")), _size(rng)
        said = engine.speak(
            text, voice=voice, speed=rng.uniform(0.85, 1.3) / size, pitch=rng.uniform(0.7, 1.4)
        )
        sound = np.frombuffer(said, "<i2").astype(np.float32) / np.float32(32768)
        return Spoken(sound, round(16_000 * size), voice)

    return speak


FAST: dict[str, Callable[[], Synthesizer]] = {
    "hibari": hibari,
    "flite": flite,
    "espeak": espeak,
    "festival": festival,
    "rhvoice": rhvoice,
    "strangers": strangers,
    "pico": pico,
}
"""The synthesizers that need nothing but their package."""


def _size(rng: random.Random) -> float:
    return rng.uniform(0.82, 1.2)


def _run(*command: str, stdin: str | None = None) -> tuple[Sound, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.wav"
        subprocess.run(  # noqa: S603  # the synthesizers named in this file
            [*command, str(path)], input=stdin, text=True, capture_output=True, check=True
        )
        sound, rate = soundfile.read(path, dtype="float32")
    return sound, rate
