"""How likely words are by themselves: what a beam search weighs beside what it hears.

A transducer that has heard few texts writes down the sounds ("passward"). This knows which words there are,
how common they are and which follow which, and is asked while they are written, letter by letter: of a word
that has only begun, the chance is that of all words which begin so. Pure, but for reading `words.npz` beside
a model.

Source: Gulcehre et al. 2015, arXiv:1503.03535 (shallow fusion); Ortmanns, Ney and Eiden 1996, "Language-model
look-ahead for large vocabulary speech recognition"; Jelinek and Mercer 1980 (pairs and words mixed).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

from ears_edge.asr.tables import Array, tables
from ears_edge.asr.tokenizer import SPACE, is_mark

UNKNOWN: Final = 1e-3
"""The chance of a word that the list does not have; 1e-4 and 1e-2 do as well (`training.prompts`)."""
LETTER: Final = math.log(0.06)
"""And of each of its letters, and of its end; 0.06 is about the chance of a letter of English."""
WORD: Final = 2.0
"""Nats that each word gets back as it begins. With that, and a weight of 0.1, the embedded model writes as
many words as without a word model; with 0 it leaves out more, such as names, with 4 it has more errors."""
SENTENCE_ENDS: Final = frozenset(".?!")
END: Final = " "
FIRST: Final = "\0"
LAST: Final = "\U0010ffff"
"""Before and after every letter, in the order of the words."""
REMEMBERED: Final = 20_000
"""Answers that are kept; a sentence asks for some hundreds, most of them several times."""


class Context(NamedTuple):
    """Where a text stands."""

    before: int
    """Which word came last, by its number: one more than there are for a sentence's beginning, -1 for a word
    that the list does not have."""
    begun: str
    """The letters of the word that has begun since."""


class WordModel:
    """Words and pairs of words of one language. Shared by all sessions, of which it keeps nothing."""

    def __init__(
        self,
        pieces: Sequence[str],
        *,
        words: Sequence[str],
        chances: Array,
        begins: Array,
        followers: Array,
        shares: Array,
        trust: Array,
    ) -> None:
        """Take the tables, N words and P pairs.

        Args:
            pieces: The vocabulary by token id; white space is written as U+2581.
            words: N, in lower case and sorted.
            chances: (N,) of each by itself; their sum is 1 or a little less.
            begins: (N + 2,) where the pairs of each word begin, those of a sentence's beginning behind all.
            followers: (P,) numbers of the second words, sorted for each first one.
            shares: (P,) how often each of them is it; their sum for each first word is 1.
            trust: (N + 1,) weight of the pairs against that of the words by themselves, for each first word.

        Raises:
            ValueError: The tables do not fit together.
        """
        count, pairs = len(words), len(followers)
        shapes = (chances.shape, begins.shape, shares.shape, trust.shape)
        if shapes != ((count,), (count + 2,), (pairs,), (count + 1,)):
            raise ValueError(f"{count} words and {pairs} pairs do not fit to the shapes {shapes}")
        if begins[0] != 0 or begins[-1] != pairs or (np.diff(begins.astype(np.int64)) < 0).any():
            raise ValueError("the pairs are not in order")
        if list(words) != sorted(set(words)):
            raise ValueError("the words are not sorted")
        if not all(((table >= 0) & (table <= 1)).all() for table in (chances, shares, trust)):
            raise ValueError("expected shares from 0 to 1")
        self._words = list(words)
        self._until = np.concatenate(([0.0], np.cumsum(chances, dtype=np.float64)))
        self._begins, self._followers = begins.astype(np.int64), followers.astype(np.int32)
        self._shares, self._trust = shares.astype(np.float32), trust.astype(np.float64)
        self._texts = [_text(piece) for piece in pieces]
        self._chance = lru_cache(REMEMBERED)(self._log_chance)
        self.start: Final = Context(count, "")
        """The beginning of a sentence."""

    @classmethod
    def load(cls, path: Path, pieces: Sequence[str]) -> Self:
        """Read `words.npz`; `pieces` as above.

        Raises:
            ModelNotFoundError: It is missing.
            ModelCorruptError: It can't be read.
        """
        with tables(path, "word_weight") as arrays:
            words = arrays["words"].astype(np.uint8).tobytes().decode("utf-8").split("\n")
            names = ("chances", "begins", "followers", "shares", "trust")
            return cls(pieces, words=words, **{name: arrays[name] for name in names})

    def after(self, context: Context, token: int) -> tuple[float, Context]:
        """A text goes on with a token -> the nats of what is new in it, and where it stands then.

        Added up over a text they are the log-probability of its words, the last one, if it has not ended,
        being any that begins so, and WORD for each of them. Punctuation costs nothing.
        """
        before, begun = context
        nats = -self._chance(before, begun) if begun else 0.0
        for letter in self._texts[token]:
            if letter.isalpha() or (begun and letter == "'"):
                nats += 0.0 if begun else WORD
                begun += letter
                continue
            if begun:
                nats += self._chance(before, begun + END)
                before, begun = self._number(begun), ""
            if letter in SENTENCE_ENDS:
                before = self.start.before
        if begun:
            nats += self._chance(before, begun)
        return nats, Context(before, begun)

    def _log_chance(self, before: int, letters: str) -> float:
        """That a word of these letters comes behind `before`; without END, one that begins with them."""
        word = letters.removesuffix(END)
        low = bisect_left(self._words, word)
        high = bisect_left(self._words, word + (FIRST if word != letters else LAST), low)
        known = float(self._until[high] - self._until[low])
        if before >= 0 and low < high and (trust := self._trust[before]):
            row = slice(self._begins[before], self._begins[before + 1])
            first, last = np.searchsorted(self._followers[row], (low, high))
            known += trust * (float(self._shares[row][first:last].sum()) - known)
        unknown = math.log(UNKNOWN) + LETTER * len(letters)
        return math.log((1 - UNKNOWN) * known + math.exp(unknown)) if known > 0 else unknown

    def _number(self, word: str) -> int:
        number = bisect_left(self._words, word)
        return number if number < len(self._words) and self._words[number] == word else -1


def _text(piece: str) -> str:
    """What a piece writes, in lower case; marks such as `<unk>` write nothing."""
    return "" if is_mark(piece) else piece.replace(SPACE, " ").lower()
