"""Synthesize test commands: `python -m training.held_out --kokoro-voices FOLDER --out FOLDER`.

The voices are those that are never trained on, as they are: no blends, no other size. The sentences come from
the same templates as the training's, drawn with another seed.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import soxr

from training.commands import Commands
from training.corpus import RATE, Clip, write_shard
from training.kokoro import HELD_OUT, Kokoro
from training.kokoro import RATE as NEURAL_RATE

SEED = 20261126
PEAK = 0.6


def main() -> None:
    """Read the command line, then synthesize."""
    parser = argparse.ArgumentParser(description="Synthesize commands by the voices that are held out.")
    parser.add_argument(
        "--kokoro-voices", type=Path, required=True, help="`voices` of the npm package kokoro-js"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the shard")
    parser.add_argument("--clips", type=int, default=90)
    asked = parser.parse_args()
    rng = random.Random(SEED)
    model, commands, voices = Kokoro(asked.kokoro_voices), Commands(rng), sorted(HELD_OUT)
    rows = []
    for number in range(asked.clips):
        voice, text = voices[number % len(voices)], commands.draw()
        sound = model.speak(text, model.styles[voice], british=voice[0] == "b", speed=rng.uniform(0.9, 1.1))
        sound = soxr.resample(sound, NEURAL_RATE, RATE)
        rows.append(
            Clip(text, f"kokoro:{voice}", np.asarray(sound * (PEAK / np.abs(sound).max()) * 32767, np.int16))
        )
    asked.out.mkdir(parents=True, exist_ok=True)
    write_shard(asked.out / "held-out.npz", rows)


if __name__ == "__main__":
    main()
