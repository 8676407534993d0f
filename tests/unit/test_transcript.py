import json
import math

from ears_edge.events import FinalText, Segment, Word
from ears_edge.transcript import Transcript, error_line, json_line
from ears_edge.units import Samples

WORDS = (
    Word("Grüß", Samples(0), Samples(1_601), 0.87654),
    Word("Gott.", Samples(3_200), Samples(4_800), math.nan),
)


def test_an_engine_s_last_event_and_segments_make_a_transcript() -> None:
    transcript = Transcript.of(FinalText(WORDS, Samples(16_000), "de"), [Segment(WORDS)])
    assert transcript == Transcript(
        text="Grüß Gott.", language="de", duration=Samples(16_000), segments=(Segment(WORDS),)
    )


def test_json_has_times_in_seconds_and_null_for_what_is_not_known() -> None:
    transcript = Transcript(
        text="Grüß Gott.", language=None, duration=Samples(16_000), segments=(Segment(WORDS),)
    )
    line = json_line("a.wav", transcript)
    assert "Grüß" in line
    assert json.loads(line) == {
        "file": "a.wav",
        "text": "Grüß Gott.",
        "language": None,
        "duration": 1.0,
        "words": [
            {"word": "Grüß", "start": 0.0, "end": 0.1, "confidence": 0.877},
            {"word": "Gott.", "start": 0.2, "end": 0.3, "confidence": None},
        ],
        "segments": [{"text": "Grüß Gott.", "start": 0.0, "end": 0.3}],
    }


def test_without_word_times_words_and_segments_are_null() -> None:
    transcript = Transcript(text="Hi", language="en", duration=Samples(0), segments=None)
    assert json.loads(json_line("a", transcript)) == {
        "file": "a",
        "text": "Hi",
        "language": "en",
        "duration": 0.0,
        "words": None,
        "segments": None,
    }


def test_an_error_is_one_line_of_json() -> None:
    assert json.loads(error_line("a", "no", "busy")) == {
        "file": "a",
        "error": {"code": "busy", "message": "no"},
    }
