"""Tokens -> words -> segments."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ears_edge.asr.tokenizer import SPACE, Tokenizer
from ears_edge.events import Segment, Word
from ears_edge.units import Samples, samples

SEGMENT_GAP: Final = samples(0.8)
"""A gap between words from which on they belong to different segments."""
CLOSING: Final = frozenset(".,?!;:%)]}\u2026\u3002\u3001\uff0c\uff1f\uff01\u201d\u00bb")
"""Characters that cling to the word before them, even behind a blank."""


class TimedToken(NamedTuple):
    """A token with its place in the session."""

    id: int
    start: Samples
    end: Samples
    confidence: float


class WordBuilder:
    """Puts words together from tokens that come piece by piece; a word is out once the next has begun."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._text = ""
        self._tokens: list[TimedToken] = []
        self._blank_before = False

    def add(self, tokens: Iterable[TimedToken]) -> list[Word]:
        """Take further tokens; return the words that they complete."""
        words: list[Word] = []
        for token in tokens:
            if self._tokenizer.is_silent(token.id):
                continue
            piece = self._tokenizer.pieces[token.id]
            text = piece.replace(SPACE, "")
            starts = self._blank_before or piece.startswith(SPACE)
            if not text:
                self._blank_before = True
                continue
            self._blank_before = False
            if starts and not _clings(text):
                words += self.flush()
            if not self._tokens and _clings(text):
                continue  # its word is out already, and final
            self._text += text
            self._tokens.append(token)
        return words

    def flush(self) -> list[Word]:
        """Close the open word, if there is one."""
        if not self._tokens:
            return []
        confidence = min(token.confidence for token in self._tokens)
        word = Word(self._text, self._tokens[0].start, self._tokens[-1].end, confidence)
        self._text, self._tokens, self._blank_before = "", [], False
        return [word]


def group_words(ids: Sequence[int], tokenizer: Tokenizer) -> list[slice]:
    """Token ids -> where each word begins and ends among them; a head that starts no word is one, too."""
    starts = [i for i, token in enumerate(ids) if _starts_word(tokenizer, token)]
    if not ids:
        return []
    bounds = [0, *(i for i in starts if i > 0), len(ids)]
    return [slice(a, b) for a, b in pairwise(bounds)]


class Segmenter:
    """Words in, closed segments out: a segment ends where the next word keeps away."""

    def __init__(self) -> None:
        self._words: list[Word] = []

    def add(self, words: Iterable[Word]) -> list[Segment]:
        """Take further final words; return the segments that they close."""
        closed: list[Segment] = []
        for word in words:
            if self._words and word.start - self._words[-1].end >= SEGMENT_GAP:
                closed += self.flush()
            self._words.append(word)
        return closed

    def flush(self) -> list[Segment]:
        """Close the open segment, if there is one."""
        if not self._words:
            return []
        segment, self._words = Segment(tuple(self._words)), []
        return [segment]


def _clings(text: str) -> bool:
    return all(character in CLOSING for character in text)


def _starts_word(tokenizer: Tokenizer, token: int) -> bool:
    piece = tokenizer.pieces[token]
    return piece.startswith(SPACE) and not _clings(piece[1:] or "a")
