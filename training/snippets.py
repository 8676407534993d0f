"""A word or two with nothing around them: an answer, a number, a name, a piece of a sentence.

Of what one person says in one or two words (training.prompts) version 13 had nine words of ten wrong, of six
and more a quarter: it had hardly ever heard less than a sentence.
"""

import random
import re
from collections.abc import Sequence

from num2words import num2words

from training.commands import Commands
from training.prose import Vocabulary

MOST_WORDS = 4
"""Of a piece of a sentence."""
ANSWERS = (
    "yes", "no", "yeah", "nope", "okay", "sure", "maybe", "never mind", "cancel", "cancel that", "stop",
    "stop it", "pause", "resume", "play", "next", "previous", "skip", "repeat", "louder", "quieter", "mute",
    "volume up", "volume down", "lights on", "lights off", "lights out", "on", "off", "open", "close", "up",
    "down", "more", "less", "hello", "goodbye", "good morning", "good night", "thanks", "thank you", "please",
    "help", "wait", "again", "enough", "that's all", "the first one", "the second one", "the other one",
    "both", "all of them", "none", "everything", "nothing", "here", "there", "upstairs", "downstairs",
    "everywhere", "now", "later", "today", "tomorrow", "tonight", "yesterday", "at noon", "at midnight",
    "in the morning", "in the evening", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    "Sunday", "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
KINDS = {"piece": 0.33, "word": 0.22, "number": 0.15, "counted": 0.1, "name": 0.08, "answer": 0.12}
"""How often it is a piece of a sentence, any word, a number, a number of something, what something is called
at home, an answer."""
OF = 0.5
"""How often a number of something is one of a kind: "ten of clubs", which version 14 took for "turn off"."""


class Snippets:
    """Draws them: from prose as `read_prose` gives it, from its words, and from the commands' names."""

    def __init__(
        self, prose: Sequence[Sequence[str]], words: Vocabulary, commands: Commands, rng: random.Random
    ) -> None:
        self._prose, self._words, self._commands, self._rng = prose, words, commands, rng

    def draw(self) -> str:
        """One of them, cased and punctuated as a sentence."""
        (kind,) = self._rng.choices(list(KINDS), list(KINDS.values()))
        match kind:
            case "piece":
                text = self._piece()
            case "word":
                text = self._words.draw(self._rng)
            case "number":
                text = self._number()
            case "counted":
                of = " of" if self._rng.random() < OF else ""
                text = f"{num2words(self._rng.randint(1, 20))}{of} {self._words.draw(self._rng)}"
            case "name":
                text = self._commands.name()
            case _:
                text = self._rng.choice(ANSWERS)
        return text[0].upper() + text[1:] + "."

    def _piece(self) -> str:
        words = re.findall(r"[A-Za-z][A-Za-z'-]*", self._rng.choice(self._rng.choice(self._prose)))
        count = self._rng.randint(1, MOST_WORDS)
        first = self._rng.randint(0, max(0, len(words) - count))
        return " ".join(words[first : first + count])

    def _number(self) -> str:
        """A cardinal, an ordinal, a clock, or digits one by one."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.4:
            return str(num2words(rng.choice((rng.randint(0, 20), rng.randint(0, 99)))))
        if kind < 0.55:
            return str(num2words(rng.choice((rng.randint(1, 31), rng.randint(1, 99))), to="ordinal"))
        if kind < 0.7:
            return f"{num2words(rng.randint(1, 12))} {num2words(rng.choice((15, 20, 30, 40, 45, 50)))}"
        zero = rng.choice(("zero", "oh"))
        digits = (rng.randint(0, 9) for _ in range(rng.randint(2, 7)))
        return " ".join(str(num2words(digit)) if digit else zero for digit in digits)
