"""The sentences of the training: commands and general English, in any measure."""

import random
from collections.abc import Iterator
from pathlib import Path

from training.commands import Commands
from training.prose import draw_reading, read_prose
from training.tokenizer import Tokenizer


def sentences(rng: random.Random, novels: Path, share: float) -> Iterator[str]:
    """Commands (so many of all) and prose without end; what the vocabulary cannot write is left out."""
    commands, prose, tokenizer = Commands(rng), read_prose(novels), Tokenizer()
    while True:
        text = commands.draw() if rng.random() < share else draw_reading(prose, rng)
        if tokenizer.knows(text):
            yield text
