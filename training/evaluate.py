"""Evaluate: `python -m training.evaluate`: word error rates of our model and, where installed, of others.

The clips of the first two rows are real recordings, which lie beside the repository and are never trained on.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from ears_edge.errors import ModelError
from ears_edge.units import F32
from ears_edge.wer import WordErrors, compare
from training.corpus import RATE, read_shard
from training.noises import draw_noise
from training.recognizers import REFERENCES, Ours, Recognizer
from training.rooms import room_response

ROOT = Path(__file__).parent.parent
SPEECH = ROOT.parent / "shared" / "data" / "speech"
EMBEDDED = ROOT / "ears_edge" / "models" / "embedded"
SEED = 20261125
"""Of the rooms and noises, so that every run hears the same."""
NOISE_DB = 10.0
STARTS, LATER, SOFTER = 10, RATE * 3 // 1000, 0.05
"""Times that a clip can be heard; each begins so many samples later, and is so much softer, than the one
before: a few errors come and go with either."""
SILENT_KINDS = ("coloured", "machine", "hum", "music", "knocks")
"""Backgrounds in which nobody speaks."""


class Heard(NamedTuple):
    """One test clip."""

    name: str
    text: str
    sound: F32


def main() -> None:
    """Read the command line, evaluate, print the table."""
    parser = argparse.ArgumentParser(description="Print the word error rates of the embedded model.")
    parser.add_argument("--model", type=Path, default=EMBEDDED, help="a folder in the onnx-asr layout")
    parser.add_argument(
        "--speech", type=Path, default=SPEECH, help="folder of the test clips and their MANIFEST.tsv"
    )
    parser.add_argument("--held-out", type=Path, help="folder of shards by `training.held_out`: a larger set")
    parser.add_argument("--new", type=Path, help="shards by `training.synthesize` to choose by")
    parser.add_argument("--references", action="store_true", help="also run the recognizers of others")
    parser.add_argument(
        "--optimized", action="store_true", help="rewrite our encoder first (ears-edge models optimize)"
    )
    parser.add_argument("--words", action="store_true", help="print what was said and heard, clip by clip")
    parser.add_argument(
        "--starts", type=int, default=1, metavar="N", choices=range(1, STARTS + 1),
        help=f"hear each clip 1 to {STARTS} times, each 3 ms later and softer: the mean of all",
    )  # fmt: skip
    asked = parser.parse_args()
    try:
        recognizers: dict[str, Recognizer] = {"ours": Ours(asked.model, optimized=asked.optimized)}
    except (ModelError, ValueError) as error:
        parser.error(str(error))
    if asked.references:
        recognizers |= dict(_installed())
    sets = test_sets(asked.speech, asked.held_out)
    new = new_sets(asked.new) if asked.new else {}
    print("| test set | clips | words | " + " | ".join(recognizers) + " |")
    print("|---" * (3 + len(recognizers)) + "|")
    sums = {name: WordErrors() for name in recognizers}
    for title, clips in (sets | new).items():
        scores = {
            name: score(recognizer, clips, asked.starts, words=asked.words)
            for name, recognizer in recognizers.items()
        }
        if title in new:
            sums = {name: sums[name] + errors for name, errors in scores.items()}
        print(row(title, clips, scores, asked.starts))
    if new:
        print(row("all new clips", [clip for clips in new.values() for clip in clips], sums, asked.starts))
    silent = non_speech()
    wrong = [sum(bool(recognizer(clip)) for clip in silent) for recognizer in recognizers.values()]
    print(f"| non-speech, clips with words | {len(silent)} | 0 | " + " | ".join(map(str, wrong)) + " |")
    speeds = [_speed(recognizer, sets["real recorded commands"]) for recognizer in recognizers.values()]
    print("| real-time factor, real commands | | | " + " | ".join(speeds) + " |")


def test_sets(speech: Path, held_out: Path | None) -> dict[str, list[Heard]]:
    """The clips, by the name of their set."""
    clips = list(_manifest(speech))
    sets = {
        "real recorded commands": _named(clips, "s2p_en"),
        "real read speech": _named(clips, "ps_", "librispeech", "jfk"),
        "held-out voices, commands": _named(clips, "tts_"),
    }
    if held_out:
        shards = sorted(held_out.glob("*.npz"))
        sets["held-out voices, more commands"] = [clip for shard in shards for clip in _spoken(shard)]
    return sets | in_noise({name: clips for name, clips in sets.items() if name.startswith("held-out")})


def new_sets(folder: Path) -> dict[str, list[Heard]]:
    """Clips that choose between models: one set for each tool and seed, and the same in noise."""
    sets: dict[str, list[Heard]] = {}
    for shard in sorted(folder.glob("*.npz")):
        sets.setdefault(f"new clips, {shard.stem.rpartition('-')[0]}", []).extend(_spoken(shard))
    return sets | in_noise(sets)


def in_noise(sets: Mapping[str, Sequence[Heard]]) -> dict[str, list[Heard]]:
    """The same sets across a room: the same rooms and noises each time."""
    rng = np.random.default_rng(SEED)
    return {
        f"{name}, {NOISE_DB:.0f} dB noise in a room": [in_a_room(clip, rng) for clip in clips]
        for name, clips in sets.items()
    }


def in_a_room(clip: Heard, rng: np.random.Generator) -> Heard:
    """The clip as heard across a room, with a background 10 dB below it."""
    speech = np.pad(clip.sound, (RATE // 4, RATE // 4))
    speech = np.convolve(speech, room_response(rng))[: len(speech)]
    noise = draw_noise(str(rng.choice(SILENT_KINDS)), [], rng)
    noise = noise[int(rng.integers(len(noise) - len(speech))) :][: len(speech)]
    level = np.sqrt(np.square(speech).mean() / np.square(noise).mean() * 10.0 ** (-NOISE_DB / 10.0))
    mixed = speech + level * noise
    return clip._replace(sound=np.asarray(mixed * (0.5 / np.abs(mixed).max()), np.float32))


def non_speech() -> list[F32]:
    """30 clips of 1 to 6 seconds: backgrounds from loud to faint."""
    rng = np.random.default_rng(SEED)
    clips = []
    for i in range(30):
        length = int(rng.uniform(1.0, 6.0) * RATE)
        noise = draw_noise(SILENT_KINDS[i % len(SILENT_KINDS)], [], rng)[:length]
        clips.append(np.asarray(noise * (10.0 ** rng.uniform(-3.0, -0.3) / np.abs(noise).max()), np.float32))
    return clips


def _manifest(folder: Path) -> Iterator[Heard]:
    with (folder / "MANIFEST.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["language"] == "en":
                sound, rate = soundfile.read(folder / row["file"], dtype="float32", always_2d=True)
                yield Heard(row["file"], row["text"], soxr.resample(sound.mean(axis=1), rate, RATE))


def _spoken(shard: Path) -> Iterator[Heard]:
    for clip in read_shard(shard):
        yield Heard(clip.voice, clip.text, np.asarray(clip.speech / 32768, np.float32))


def _named(clips: Sequence[Heard], *prefixes: str) -> list[Heard]:
    return [clip for clip in clips if clip.name.startswith(prefixes)]


def _installed() -> Iterator[tuple[str, Recognizer]]:
    for name, make in REFERENCES.items():
        try:
            yield name, make()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


def score(recognizer: Recognizer, clips: Sequence[Heard], starts: int, *, words: bool) -> WordErrors:
    """All errors in the clips, each of them heard so many times."""
    total = WordErrors()
    for clip in clips:
        for sound in hearings(clip.sound, starts):
            text = recognizer(sound)
            errors = compare(clip.text, text)
            total += errors
            if words:
                print(f"{errors.errors}/{errors.words}\t{clip.name}\t{clip.text}\t{text}", file=sys.stderr)
    return total


def row(title: str, clips: Sequence[Heard], scores: Mapping[str, WordErrors], starts: int) -> str:
    """Words as they are counted (21 is two), each one's error rate, and how many are wrong a hearing."""
    count = max(total.words for total in scores.values()) // starts
    rates = (
        f"{100 * total.errors / max(total.words, 1):.1f} % ({total.errors / starts:.4g})"
        for total in scores.values()
    )
    return f"| {title} | {len(clips)} | {count} | " + " | ".join(rates) + " |"


def hearings(sound: F32, starts: int) -> Iterator[F32]:
    """(N,) -> the same `starts` times, each LATER and SOFTER than the one before."""
    for turn in range(starts):
        yield np.pad(sound * np.float32(1.0 - SOFTER * turn), (LATER * turn, 0))


def _speed(recognizer: Recognizer, clips: Sequence[Heard]) -> str:
    started = time.perf_counter()
    for clip in clips:
        recognizer(clip.sound)
    return f"{(time.perf_counter() - started) * RATE / sum(len(clip.sound) for clip in clips):.4f}"


if __name__ == "__main__":
    main()
