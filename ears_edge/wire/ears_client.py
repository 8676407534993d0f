"""The client's side of eaRS's WebSocket protocol: requests -> messages, messages -> answers. Sans-I/O.

Source: byteowlz/eaRS src/lib.rs (WebSocketMessage); `segment`, `language_detected` and `confidence` stand in
its docs/PARAKEET.md only, so a server may not send them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from ears_edge.errors import PeerProtocolError
from ears_edge.events import Segment, Word
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed
from ears_edge.units import samples

MAX_MESSAGE_BYTES: Final = 67_108_864
"""Longest message that is taken: a `final` holds every word of the session."""

Time: TypeAlias = Annotated[float, Bounds(ge=0, le=1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWord:
    """A word that is never revised, as soon as it is known."""

    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedSegment:
    """A run of words between two pauses."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageDetected:
    """Which language is spoken."""

    lang: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalWord:
    """A word of the whole text."""

    word: str
    start_time: Time
    end_time: Time | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeText:
    """The whole text. Nothing comes after it."""

    text: str
    words: tuple[FinalWord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The server can't go on. eaRS itself sends no code."""

    message: str
    code: str | None = None


Answer: TypeAlias = LiveWord | ClosedSegment | LanguageDetected | WholeText | Error

_ANSWERS: Final[dict[str, type[Answer]]] = {
    "word": LiveWord,
    "segment": ClosedSegment,
    "language_detected": LanguageDetected,
    "final": WholeText,
    "error": Error,
}


def decode_answer(text: str) -> Answer | None:
    """A text message -> what it tells; None if it is of a type that this client does not need.

    Raises:
        PeerProtocolError: It is not a JSON object, or a member is missing or wrong.
    """
    try:
        members = parse_json_object(text.encode())
        target = _ANSWERS.get(str(members.get("type")))
        return None if target is None else to_typed(members, target)
    except (ShapeError, UnicodeEncodeError) as exc:
        raise PeerProtocolError(f"a message can't be read: {exc}") from exc


def stop() -> str:
    """No more audio: asks for the final text."""
    return to_json({"type": "stop"})


def set_language(lang: str) -> str:
    """A hint as to what will be spoken."""
    return to_json({"type": "setlanguage", "lang": lang})


def segments(final: WholeText, closed: Sequence[ClosedSegment]) -> tuple[Segment, ...]:
    """All words in segments: as the server closed them or, if these do not add up to the text, in one.

    A word whose end the server does not tell ends where the next one starts; a confidence that it does not
    tell is not a number.
    """
    words = _words(final.words)
    lengths = [len(segment.text.split()) for segment in closed]
    if [word.text for word in words] != [part for segment in closed for part in segment.text.split()]:
        lengths = [len(words)]
    made, at = [], 0
    for length in lengths:
        if length:
            made.append(Segment(words[at : at + length]))
        at += length
    return tuple(made)


def _words(words: Sequence[FinalWord]) -> tuple[Word, ...]:
    # The last word ends, for all we know, where it starts.
    next_starts = [word.start_time for word in (*words[1:], *words[-1:])]
    return tuple(
        Word(
            word.word,
            samples(word.start_time),
            samples(next_start if word.end_time is None else word.end_time),
            math.nan if word.confidence is None else word.confidence,
        )
        for word, next_start in zip(words, next_starts, strict=True)
    )
