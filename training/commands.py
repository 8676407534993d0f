"""Sentences people say to their home, sampled from templates.

Two sources: the templates of home-assistant-intents (Apache-2.0), which hold every wording that Home
Assistant understands, and phrases.toml, which holds the usual ones. Both are in hassil's template language.
"""

import importlib
import json
import random
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hassil.expression import (
    Alternative,
    Expression,
    ListReference,
    Permutation,
    RuleReference,
    Sequence,
    TextChunk,
)
from hassil.parse_expression import parse_sentence
from num2words import num2words

HERE = Path(__file__).parent
WEIGHTS = {
    "HassTurnOn": 16.0,
    "HassTurnOff": 16.0,
    "HassLightSet": 11.0,
    "HassStartTimer": 10.0,
    "HassGetState": 6.0,
    "HassClimateSetTemperature": 6.0,
    "HassClimateGetTemperature": 4.0,
    "HassSetPosition": 3.0,
    "HassShoppingListAddItem": 4.0,
    "HassListAddItem": 3.0,
    "HassMediaSearchAndPlay": 5.0,
    "HassSetVolume": 3.0,
    "HassSetVolumeRelative": 2.0,
    "HassGetWeather": 2.0,
    "HassGetCurrentTime": 0.5,
    "HassGetCurrentDate": 0.5,
}
"""How often an intent is drawn; the others 1. Set by hand, not from usage logs."""
RULES = {
    "the": ({"the": 80, "my": 15, "our": 5}),
    "in": ({"in": 88, "on": 4, "at": 4, "of": 4}),
    "all": ({"all the": 55, "all": 25, "all of the": 15, "every": 5}),
    "light": ({"lights": 60, "light": 25, "lamp": 9, "lamps": 6}),
    "is": ({"is": 40, "are": 20, "is the": 25, "are the": 15}),
    "everywhere": ({"everywhere": 40, "in the whole house": 30, "in the house": 30}),
    "turn": ({"turn": 80, "switch": 20}),
}
"""Rules of home-assistant-intents whose likely words are drawn instead of all that Home Assistant takes."""
ALIASES = {
    "device": "switch",
    "door": "lock",
    "speaker": "media_player",
    "list": "todo",
    "item": "shopping_list_item",
    "music": "search_query",
    "todo": "todo_list_item",
}
"""Lists of phrases.toml that are called otherwise in slots.toml."""
OPTION_TAKEN = 0.4
MAX_WORDS = 20
HALF_PAST = (0, 0, 15, 30, 30, 45, 5, 10, 20, 50)
CONTRACTIONS = {"whats": "what's", "hows": "how's", "wheres": "where's", "todays": "today's"}
QUESTION = re.compile(
    r"^(what|how|which|who|where|when|is|are|do|does|did|will|can|could|would|was|has|have|any)\b",
    re.IGNORECASE,
)
ODD = re.compile(
    r"\b(the|my|our|any|some) (the|my|our)\b|\b(\w+) \3\b|^(in|the|my|our) \S+$"
    r"|\b(is|are) (the|my|our) (on|off|in|of)\b|\bshut up\b|\bthe \w+'s"
    r"|\b(the|my|our) (Emma|Oliver|Mia|Tom|upstairs|downstairs|home|London|Paris|Spotify)\b"
    r"(?! \w+ (lights?|fan))",
    re.IGNORECASE,
)
"""Expansions that no one would say."""


def in_words(text: str) -> str:
    """Write numbers below 100 and clocks out; longer numbers stay digits.

    One way to write a number leaves nothing to guess, and its letters can be heard: 15 and 50 look alike.
    The vocabulary has no colon.
    """
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", lambda found: _clock_in_words(*found.groups()), text)
    return re.sub(
        r"(?<![\d./:,-])\b(\d{1,2}(?:\.\d)?)\b(?![\d/:°,-]|\.\d)",
        lambda found: _spoken(found[1]),
        re.sub(r"(?<=\d) ?%", " percent", text),
    )


def _clock_in_words(hour: str, minute: str) -> str:
    if minute == "00":
        return f"{num2words(int(hour))} o'clock"
    return f"{num2words(int(hour))} {'oh ' if minute < '10' else ''}{num2words(int(minute))}"


def _spoken(number: str) -> str:
    whole, _, tenth = number.partition(".")
    return str(num2words(int(whole))) + (f" point {num2words(int(tenth))}" if tenth else "")


class Commands:
    """Draws command sentences. All randomness comes from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        with (HERE / "slots.toml").open("rb") as file:
            tables = tomllib.load(file)
        self._slots = {
            table: {key: row.split("|") for key, row in rows.items()} for table, rows in tables.items()
        }
        package = Path(importlib.import_module("home_assistant_intents").__file__ or "").parent
        intents = json.loads((package / "data" / "en.json").read_text(encoding="utf-8"))
        self._lists: dict[str, Any] = intents["lists"]
        self._rules: dict[str, str] = intents["expansion_rules"]
        self._parsed: dict[str, Expression] = {}
        self._blocks = [
            (WEIGHTS.get(name, 1.0) / len(intent["data"]), block)
            for name, intent in intents["intents"].items()
            for block in intent["data"]
        ]
        with (HERE / "phrases.toml").open("rb") as file:
            self._groups: list[dict[str, Any]] = tomllib.load(file)["group"]
        self._numbers: dict[str, Callable[[], str]] = {
            "percent": lambda: str(
                rng.choice((rng.randrange(10, 101, 10), rng.randrange(5, 101, 5), rng.randint(1, 100)))
            ),
            "degrees": lambda: str(
                rng.choice((rng.randint(15, 27), rng.randint(15, 27), rng.randint(60, 80)))
            ),
            "minutes": lambda: str(
                rng.choice((1, 2, 3, 5, 5, 10, 10, 15, 20, 25, 30, 40, 45, 60, rng.randint(1, 59)))
            ),
            "small": lambda: str(rng.randint(2, 12)),
            "number": lambda: str(
                rng.choice((rng.randint(0, 12), rng.randint(0, 99), rng.randint(100, 999)))
            ),
            "digits": lambda: " ".join(num2words(rng.randint(0, 9)) for _ in range(rng.randint(2, 8))),
            "clock": self._clock,
            "duration": self._duration,
        }

    def draw(self) -> str:
        """One sentence, cased and punctuated."""
        while True:
            text = self._own() if self._rng.random() < 0.6 else self._home_assistant()
            text = self._inflect(re.sub(r"\s+", " ", text).strip())
            if text and len(text.split()) <= MAX_WORDS and not ODD.search(text):
                return self._dress(text)

    def name(self) -> str:
        """What somebody calls a room, a device, a list or a song, and no more."""
        rows = [row for table in ("name", "area", "wild") for row in self._slots[table].values()]
        return self._rng.choice(self._rng.choice(rows))

    def _own(self) -> str:
        group = self._rng.choices(self._groups, [row["weight"] for row in self._groups])[0]
        return self._say(self._parse(self._rng.choice(group["phrases"])), {})

    def _home_assistant(self) -> str:
        block = self._rng.choices([row for _, row in self._blocks], [weight for weight, _ in self._blocks])[0]
        return self._say(self._parse(self._rng.choice(block["sentences"])), block)

    def _parse(self, template: str) -> Expression:
        if template not in self._parsed:
            self._parsed[template] = parse_sentence(template).expression
        return self._parsed[template]

    def _say(self, part: Expression, block: Mapping[str, Any]) -> str:  # noqa: PLR0911  # a kind of part each
        match part:
            case TextChunk():
                return part.original_text
            case RuleReference():
                if part.rule_name in RULES:
                    words = RULES[part.rule_name]
                    return self._rng.choices(list(words), list(words.values()))[0]
                own = block.get("expansion_rules") or {}
                return self._say(self._parse(own.get(part.rule_name) or self._rules[part.rule_name]), block)
            case ListReference():
                return self._slot(part.list_name, block)
            case Alternative(is_optional=True):
                filled = [
                    item
                    for item in part.items
                    if not (isinstance(item, TextChunk) and not item.original_text.strip())
                ]
                return (
                    self._say(self._rng.choice(filled), block)
                    if filled and self._rng.random() < OPTION_TAKEN
                    else ""
                )
            case Alternative():
                return self._say(self._rng.choice(part.items), block)
            case Permutation():
                items = self._rng.sample(part.items, len(part.items))
                return " ".join(("", *(self._say(item, block).strip() for item in items), ""))
            case Sequence():
                return "".join(self._say(item, block) for item in part.items)
        raise TypeError(f"hassil's {type(part).__name__} is not known here")

    def _slot(self, name: str, block: Mapping[str, Any]) -> str:
        if name in self._numbers:
            return self._numbers[name]()
        for table in ("own", "area", "wild"):
            if name in self._slots[table]:
                return self._rng.choice(self._slots[table][name])
        if not block:
            return self._rng.choice({**self._slots["name"], **self._slots["wild"]}[ALIASES.get(name, name)])
        return self._entity(block) if name == "name" else self._intent_value(name, block)

    def _entity(self, block: Mapping[str, Any]) -> str:
        domains = (block.get("requires_context") or {}).get("domain") or (block.get("slots") or {}).get(
            "domain"
        )
        if isinstance(domains, dict):
            domains = domains.get("value")
        names = self._slots["name"]
        known = [
            name
            for domain in ([domains] if isinstance(domains, str) else domains or [])
            for name in names.get(domain, [])
        ]
        return self._rng.choice(known or names["fallback"])

    def _intent_value(self, name: str, block: Mapping[str, Any]) -> str:
        values = self._lists[name]
        if "range" in values:
            span = values["range"]
            if name == "temperature":
                return self._numbers["degrees"]()
            if span.get("type") == "percentage":
                return self._numbers["percent"]()
            if name == "timer_minutes":
                return self._numbers["minutes"]()
            return str(self._rng.randrange(span["from"], span["to"] + 1, span.get("step", 1)))
        value = self._rng.choice(values["values"])
        return self._say(self._parse(value if isinstance(value, str) else value["in"]), block)

    def _clock(self) -> str:
        hour, minute = self._rng.randint(1, 12), self._rng.choice(HALF_PAST)
        half = self._rng.choice((" AM", " PM", "", ""))
        spoken = self._rng.choice(
            (f"quarter past {hour}", f"half past {hour}", f"quarter to {hour}", f"{hour} o'clock")
        )
        written = f"{hour}{half or ' o' + chr(39) + 'clock'}" if minute == 0 else f"{hour}:{minute:02d}{half}"
        return spoken if self._rng.random() < 0.3 else written

    def _duration(self) -> str:
        minutes, seconds, hours = (
            self._numbers["minutes"](),
            self._rng.choice((10, 15, 20, 30, 30, 45)),
            self._rng.randint(1, 12),
        )
        return self._rng.choice(
            (
                *(f"{minutes} minutes",) * 4,
                f"{seconds} seconds",
                f"{hours} hours",
                f"{hours} hours and {minutes} minutes",
                f"{minutes} minutes and {seconds} seconds",
                *("half an hour", "an hour and a half", "one and a half minutes"),
            )
        )

    def _inflect(self, text: str) -> str:
        text = re.sub(r"\b(1|one|a)([ -])(minute|hour|second|degree)s\b", r"\1\2\3", text)
        text = re.sub(r"\b(\d+)[ -](minute|hour|second)s?(?= timer)", r"\1 \2", text)
        text = re.sub(r"\b(?!1\b)(\d+)[ -](minute|hour|second|degree)\b(?! timer)", r"\1 \2s", text)
        text = re.sub(r"\ban? (?=[aeio]|8\b|11\b|18\b|8\d\b)", "an ", text)
        text = re.sub(r"\ban (?=[bcdfghjklmnpqrstvwxyz0-79])(?!hour)", "a ", text)
        text = re.sub(r"\b(light|lamp|fan) \1s\b", r"\1s", text)
        text = re.sub(r"\b(lights?|lamps?) (lights?|lamps?)\b", r"\1", text)
        for plain, right in CONTRACTIONS.items():
            text = re.sub(rf"\b{plain}\b", right, text, flags=re.IGNORECASE)
        return re.sub(r"\s+([%°,])", r"\1", text)

    def _dress(self, text: str) -> str:
        rng = self._rng
        question = bool(QUESTION.match(text))
        if not question and len(text.split()) > 1:
            manner = rng.random()
            if manner < 0.05:
                text = "please " + text
            elif manner < 0.09:
                text += " please"
            elif manner < 0.13:
                text, question = rng.choice(("can you ", "could you ", "would you ")) + text, True
        text = in_words(text)
        text = re.sub(r"\bi\b", "I", text)
        return text[0].upper() + text[1:] + ("?" if question else ".")
