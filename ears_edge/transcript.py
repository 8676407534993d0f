"""What one file was found to say, whoever listened to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ears_edge.events import FinalText, Segment, Word
from ears_edge.typed import to_json
from ears_edge.units import Samples, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The text of one file, and when each word was said, if that is known."""

    text: str
    language: str | None
    """Bare code; None if nobody said."""
    duration: Samples
    """Audio that was heard."""
    segments: tuple[Segment, ...] | None
    """All the words, in runs between pauses; None if whoever listened gives no word times."""

    @classmethod
    def of(cls, final: FinalText, segments: Sequence[Segment]) -> "Transcript":
        """From the engine's last event and the segments before it."""
        return cls(
            text=final.text, language=final.language, duration=final.duration, segments=tuple(segments)
        )


def json_line(file: str, transcript: Transcript) -> str:
    """One line of JSON: file, text, language, duration, words, segments; times in seconds.

    Words and segments are null where their times are not known, and so is a confidence.
    """
    segments = transcript.segments
    return to_json(
        {
            "file": file,
            "text": transcript.text,
            "language": transcript.language,
            "duration": seconds(transcript.duration),
            "words": None
            if segments is None
            else [_word(word) for segment in segments for word in segment.words],
            "segments": None if segments is None else [_segment(segment) for segment in segments],
        }
    )


def error_line(file: str, message: str, code: str) -> str:
    """One line of JSON for a file that could not be transcribed."""
    return to_json({"file": file, "error": {"code": code, "message": message}})


def _word(word: Word) -> dict[str, object]:
    # Not a number means not known, and is written as null.
    return {
        "word": word.text,
        "start": seconds(word.start),
        "end": seconds(word.end),
        "confidence": round(word.confidence, 3),
    }


def _segment(segment: Segment) -> dict[str, object]:
    return {"text": segment.text, "start": seconds(segment.start), "end": seconds(segment.end)}
