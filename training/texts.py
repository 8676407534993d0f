"""The sentences of the training: commands and general English, in any measure."""

import random
from collections.abc import Iterator
from pathlib import Path

from training.commands import Commands
from training.prose import Vocabulary, draw_reading, read_prose
from training.snippets import Snippets
from training.tokenizer import Tokenizer
from training.word_model import web

FRAGMENTS = 0.08
"""Share of general English that lacks its beginning: not everything that is heard starts with a sentence."""
MIXED = 0.5
"""Share of general English with words that do not belong there, so that all of them are heard."""
SNIPPETS = 0.2
"""Share of all that is but a word or two (snippets.py)."""
FEWEST_WORDS = 3
"""A sentence keeps at least so many, and loses at least one."""


def sentences(
    rng: random.Random,
    novels: Path,
    share: float,
    *,
    fragments: float = FRAGMENTS,
    mixed: float = MIXED,
    snippets: float = SNIPPETS,
) -> Iterator[str]:
    """Snippets (so many of all), commands (so many of the rest) and prose without end.

    What the vocabulary cannot write is left out.
    """
    commands, prose, tokenizer = Commands(rng), read_prose(novels), Tokenizer()
    vocabulary = Vocabulary(prose, web().words)
    short = Snippets(prose, vocabulary, commands, rng)
    while True:
        if snippets and rng.random() < snippets:
            text = short.draw()
        elif rng.random() < share:
            text = commands.draw()
        else:
            text = _read(prose, rng, fragments)
            # Where there are none nothing is drawn for them: a seed then says what it said before.
            if mixed and rng.random() < mixed:
                text = vocabulary.exchanged(text, rng)
        if tokenizer.knows(text):
            yield text


def _read(prose: list[list[str]], rng: random.Random, fragments: float) -> str:
    text = draw_reading(prose, rng)
    words = text.split()
    if not fragments or len(words) <= FEWEST_WORDS or rng.random() >= fragments:
        return text
    return " ".join(words[rng.randint(1, len(words) - FEWEST_WORDS) :])
