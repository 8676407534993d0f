"""General English, so that the model is not deaf to what is not a command.

Sources, both Debian packages: the example sentences of WordNet (wordnet-base), and fortunes.
"""

import random
import re
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
FORTUNES = Path("/usr/share/games/fortunes")
NOT_PROSE = frozenset(
    {"ascii-art", "art", "definitions", "startrek", "drugs", "debian", "linuxcookie", "translate-me"}
)
WORDS = range(3, 19)
PLAIN = re.compile(r"[A-Za-z][A-Za-z',.!?; -]*")
"""Letters and the punctuation of the vocabulary: nothing that could be read out in more than one way."""
ACRONYM = re.compile(r"\b[A-Z]{2,}\b|\b[A-Z]\.")


def read_prose(wordnet: Path = WORDNET, fortunes: Path = FORTUNES) -> list[str]:
    """Every usable sentence of both sources, sorted, each once."""
    found = {sentence for text in (*_examples(wordnet), *_quotations(fortunes)) if (sentence := _tidy(text))}
    if not found:
        raise FileNotFoundError(f"no prose under {wordnet} and {fortunes}: install wordnet-base and fortunes")
    return sorted(found)


def draw_reading(prose: list[str], rng: random.Random) -> str:
    """One sentence, now and then two."""
    first = rng.choice(prose)
    return f"{first} {rng.choice(prose)}" if len(first.split()) < 8 and rng.random() < 0.15 else first


def _examples(folder: Path) -> list[str]:
    glosses = (
        line for path in sorted(folder.glob("data.*")) for line in path.read_text("utf-8").splitlines()
    )
    return [example for line in glosses for example in re.findall(r'"([^"]+)"', line.partition("|")[2])]


def _quotations(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.glob("*")) if not path.suffix and path.name not in NOT_PROSE]
    quotes = (quote for path in files for quote in path.read_text("utf-8", errors="ignore").split("\n%\n"))
    return [
        part
        for quote in quotes
        for part in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+", " ", quote.split("--")[0]))
    ]


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" -;,")
    if len(text.split()) not in WORDS or not PLAIN.fullmatch(text) or ACRONYM.search(text) or "--" in text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
