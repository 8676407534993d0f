import json
import math

import pytest

from ears_edge.errors import PeerProtocolError
from ears_edge.events import Event, FinalText, Segment, Word
from ears_edge.units import Samples
from ears_edge.wire import ears
from ears_edge.wire import ears_client as wire

WORDS = (Word("One", Samples(0), Samples(1_600), 0.5), Word("two.", Samples(3_200), Samples(4_800), 0.25))


def whole(*words: wire.FinalWord) -> wire.WholeText:
    return wire.WholeText(text=" ".join(word.word for word in words), words=words)


def test_what_our_server_writes_is_read_back() -> None:
    events: list[Event] = [Segment(WORDS[:1]), Segment(WORDS[1:]), FinalText(WORDS, Samples(9_000))]
    messages = [
        wire.decode_answer(text)
        for event in events
        for text in ears.encode_event(event, timestamps=False, vad=True, unix_time=0)
    ]
    closed = [message for message in messages if isinstance(message, wire.ClosedSegment)]
    final = messages[-1]
    assert isinstance(final, wire.WholeText)
    assert final.text == "One two."
    assert wire.segments(final, closed) == (Segment(WORDS[:1]), Segment(WORDS[1:]))


def test_a_server_without_segments_ends_and_confidences_is_understood() -> None:
    final = whole(
        wire.FinalWord(word="a", start_time=0),
        wire.FinalWord(word="b", start_time=0.5, end_time=None),
        wire.FinalWord(word="c", start_time=1.0),
    )
    (segment,) = wire.segments(final, [])
    assert [(word.start, word.end) for word in segment.words] == [
        (0, 8_000),
        (8_000, 16_000),
        (16_000, 16_000),
    ]
    assert all(math.isnan(word.confidence) for word in segment.words)


def test_segments_that_do_not_add_up_are_one() -> None:
    final = whole(*(wire.FinalWord(word=text, start_time=0, end_time=1) for text in "abc"))
    closed = [wire.ClosedSegment(text="a"), wire.ClosedSegment(text="b x")]
    assert [segment.text for segment in wire.segments(final, closed)] == ["a b c"]


def test_nothing_said_has_no_segments() -> None:
    assert wire.segments(whole(), []) == ()


def test_requests_are_commands_that_our_server_reads() -> None:
    assert ears.decode_command(wire.stop()) == ears.Stop()
    assert ears.decode_command(wire.set_language("de")) == ears.SetLanguage("de")


@pytest.mark.parametrize(
    "text", ['{"type":"status"}', '{"type":"enginechanged","engine":"x"}', "{}", '{"type":7}']
)
def test_what_is_not_needed_is_passed_over(text: str) -> None:
    assert wire.decode_answer(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "final",
        "[]",
        "\ud800",
        '{"type":"final"}',
        '{"type":"final","text":"a","words":[{"word":"a"}]}',
        json.dumps({"type": "final", "text": "a", "words": [{"word": "a", "start_time": -1}]}),
        json.dumps({"type": "final", "text": "a", "words": [{"word": "a", "start_time": 1e300}]}),
        json.dumps({"type": "word", "word": None}),
        json.dumps({"type": "error"}),
        "[" * 100_000,
    ],
)
def test_a_message_that_makes_no_sense_is_an_error(text: str) -> None:
    with pytest.raises(PeerProtocolError):
        wire.decode_answer(text)


def test_an_error_may_have_no_code() -> None:
    assert wire.decode_answer('{"type":"error","message":"no"}') == wire.Error(message="no")
