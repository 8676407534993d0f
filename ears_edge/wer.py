"""Word error rate: how far a transcript is from what was said. English text; pure."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

# fmt: off
_ONES: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES: Final = ((1_000_000_000, "billion"), (1_000_000, "million"), (1_000, "thousand"), (100, "hundred"))
_ORDINALS: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_MAX_CARDINAL_DIGITS: Final = 12
"""A longer run of digits is read digit by digit, as a telephone number is."""

_SPELLINGS: Final = {
    "can't": "cannot",
    "won't": "will not",
    "let's": "let us",
    "ok": "okay",
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "alright": "all right",
}
_ENDINGS: Final = (
    ("n't", " not"),
    ("'re", " are"),
    ("'ll", " will"),
    ("'ve", " have"),
    ("'m", " am"),
)
_IS: Final = frozenset({"it", "that", "what", "where", "who", "when", "how", "he", "she", "there", "here"})
"""Words whose `'s` stands for `is`; after any other it is a possessive and stays."""


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Errors counted over `words` reference words. Those of several clips may be added."""

    errors: int = 0
    """Substituted, missing and added words: the least number that explains the difference."""
    words: int = 0
    """Words of the reference."""

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.errors + other.errors, self.words + other.words)

    @property
    def rate(self) -> float | None:
        """Errors a reference word (above 1 if many words were added); None without reference words."""
        return self.errors / self.words if self.words else None


def compare(reference: str, heard: str) -> WordErrors:
    """What was said, what was heard -> errors, after `normalized` for both."""
    said, got = normalized(reference), normalized(heard)
    return WordErrors(edits(said, got), len(said))


def normalized(text: str) -> list[str]:
    """Any English text -> comparable words: lower case, no punctuation, numbers and contractions in full."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\$(\d+)", r"\1 dollars", text)
    text = re.sub(r"%", " percent ", text)
    text = re.sub("\N{DEGREE SIGN}[cf]?", " degrees ", text)
    text = re.sub(r"(\d+)(?:st|nd|rd|th)\b", lambda match: f" {ordinal(int(match[1]))} ", text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", _clock, text)
    text = re.sub(r"(?<![\d.])(?:\d+)\.(\d+)\b(?!\.\d)", _decimal, text)
    text = re.sub(r"\d+", lambda match: f" {_number(match[0])} ", text)
    words = (word.strip("'") for word in re.sub(r"[^\w']|_", " ", text).split())
    return [part for word in words for part in _in_full(word).split()]


def cardinal(number: int) -> str:
    """A number of at most 12 digits -> words: 21 -> `twenty one`, 105 -> `one hundred five`."""
    if number < len(_ONES):
        return _ONES[number]
    for scale, name in _SCALES:
        if number >= scale:
            rest = number % scale
            return f"{cardinal(number // scale)} {name}" + (f" {cardinal(rest)}" if rest else "")
    return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")


def ordinal(number: int) -> str:
    """21 -> `twenty first`."""
    *before, last = _number(str(number)).split()
    last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join((*before, last))


def edits(reference: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of words to replace, remove or insert that turns one into the other.

    Source: Wagner and Fischer, The String-to-String Correction Problem, 1974.
    """
    start = _common(zip(reference, heard, strict=False))
    reference, heard = reference[start:], heard[start:]
    stop = _common(zip(reversed(reference), reversed(heard), strict=False))
    reference, heard = reference[: len(reference) - stop], heard[: len(heard) - stop]
    row = list(range(len(heard) + 1))
    for n, said in enumerate(reference):
        diagonal, row[0] = row[0], n + 1
        for m, got in enumerate(heard, 1):
            diagonal, row[m] = row[m], min(diagonal + (said != got), row[m] + 1, row[m - 1] + 1)
    return row[-1]


def _common(pairs: Iterable[tuple[str, str]]) -> int:
    """Pairs that are alike, before the first that is not."""
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _number(digits: str) -> str:
    if len(digits) > _MAX_CARDINAL_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    return cardinal(int(digits))


def _clock(match: re.Match[str]) -> str:
    hours, minutes = match[1], match[2]
    if minutes == "00":
        return f" {_number(hours)} "
    spoken = f"oh {_ONES[int(minutes[1])]}" if minutes[0] == "0" else cardinal(int(minutes))
    return f" {_number(hours)} {spoken} "


def _decimal(match: re.Match[str]) -> str:
    whole, _, part = match[0].partition(".")
    return f" {_number(whole)} point {' '.join(_ONES[int(digit)] for digit in part)} "


def _in_full(word: str) -> str:
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    for ending, full in _ENDINGS:
        if word.endswith(ending) and word != ending:
            return word.removesuffix(ending) + full
    return word.removesuffix("'s") + " is" if word.removesuffix("'s") in _IS and word.endswith("'s") else word
