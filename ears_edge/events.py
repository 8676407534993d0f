"""What the engine says. No wire names, no JSON, no wall-clock time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ears_edge.units import Samples


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a transcript, with its punctuation; no white space inside or around."""

    text: str
    start: Samples
    end: Samples
    """Half-open span [start, end) counted from the session's first sample; `end` from token durations."""
    confidence: float
    """Smallest softmax probability of its tokens, 0 to 1."""


@dataclass(frozen=True, slots=True)
class FinalWords:
    """Words that are never revised, in order, following on those of the FinalWords before."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of final words between two pauses, closed. Its words were sent as FinalWords before."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words, joined by blanks."""
        return join(self.words)

    @property
    def start(self) -> Samples:
        """Where its first word starts."""
        return self.words[0].start

    @property
    def end(self) -> Samples:
        """Where its last word ends."""
        return self.words[-1].end


@dataclass(frozen=True, slots=True)
class Pause:
    """The speaker paused: voice activity detection has heard speech, and now a stretch without."""

    at: Samples
    """Where the speech ended."""


@dataclass(frozen=True, slots=True)
class Language:
    """The language of what is being said: first known, or changed."""

    code: str
    """Bare ISO 639 code such as `en`."""
    confidence: float
    """0 to 1; 1 when the model speaks one language only or the client fixed it."""


@dataclass(frozen=True, slots=True)
class FinalText:
    """The session's last event: all of its final words."""

    words: tuple[Word, ...]
    duration: Samples
    """Samples that were heard."""
    language: str | None = None
    limit_reached: bool = False
    """True if the engine ended the session because it had reached `engine.max_session_s`."""

    @property
    def text(self) -> str:
        """The words, joined by blanks."""
        return join(self.words)


Event: TypeAlias = FinalWords | Segment | Pause | Language | FinalText


def join(words: Iterable[Word]) -> str:
    """The words' text, joined by blanks: the one rule by which a transcript's text is made."""
    return " ".join(word.text for word in words)
