import json

import numpy as np
import pytest

from ears_edge.errors import PeerProtocolError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word
from ears_edge.models.status import ModelStatus
from ears_edge.units import Samples
from ears_edge.wire import ears

HELLO = Word("Hello,", Samples(1600), Samples(8000), 0.98765)
WORLD = Word("wörld.", Samples(8000), Samples(16001), 0.5)


def encoded(event: Event, *, timestamps: bool = False, vad: bool = True) -> list[object]:
    return [
        json.loads(text) for text in ears.encode_event(event, timestamps=timestamps, vad=vad, unix_time=12.5)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "stop",
        " STOP\n",
        '"stop"',
        '"Stop"',
        '{"type":"stop"}',
        '{"type":"sToP","at":1}',
        '\t{"type":"STOP"} ',
    ],
)
def test_stop_has_many_forms(text: str) -> None:
    assert ears.decode_command(text) == ears.Stop()


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type":"setlanguage","lang":"en"}', ears.SetLanguage("en")),
        ('{"type":"getstatus"}', ears.GetStatus()),
        ('{"type":"restart","why":null}', ears.Restart()),
        ('{"type":"setengine","engine":"Parakeet"}', ears.SetEngine("Parakeet")),
        ('{"type":"pause"}', ears.PauseHearing()),
        ('{"type":"resume"}', ears.ResumeHearing()),
        ('{"type":"setvadtimeout","seconds":2}', ears.SetVadTimeout(2.0)),
        ('{"type":"setvadtimeout","seconds":0.5}', ears.SetVadTimeout(0.5)),
        ('{"type":"authenticate","token":"t\\u00f6k"}', ears.Authenticate("tök")),
        ('{"type":"liststreams"}', ears.ListStreams()),
        ('{"type":"subscribe","stream_id":7}', ears.Subscribe(7)),
        ('{"stream_id":9223372036854775807,"type":"subscribe"}', ears.Subscribe(2**63 - 1)),
    ],
)
def test_commands_are_read(text: str, command: ears.Command) -> None:
    assert ears.decode_command(text) == command


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "bad-message", "bad-message: not a JSON object"),
        ("please stop", "bad-message", "bad-message: not a JSON object"),
        ("{", "bad-message", "bad-message: not a JSON object"),
        ("[]", "bad-message", "bad-message: not a JSON object"),
        ("null", "bad-message", "bad-message: not a JSON object"),
        ('"restart"', "bad-message", "bad-message: not a JSON object"),
        ('{"type":"getstatus"} x', "bad-message", "bad-message: not a JSON object"),
        ("[" * 60_000, "bad-message", "bad-message: not a JSON object"),
        ('{"a":' * 10_000, "bad-message", "bad-message: not a JSON object"),
        ("\ud800", "bad-message", "bad-message: not a JSON object"),
        ("{}", "bad-message", "bad-message: no member 'type' that is a string"),
        ('{"type":7}', "bad-message", "bad-message: no member 'type' that is a string"),
        ('{"Type":"getstatus"}', "bad-message", "bad-message: no member 'type' that is a string"),
        ('{"type":"GetStatus"}', "unknown-type", "bad-message: unknown type 'GetStatus'"),
        ('{"type":" stop "}', "unknown-type", "bad-message: unknown type ' stop '"),
        ('{"type":"' + "x" * 500 + '"}', "unknown-type", "bad-message: unknown type '" + "x" * 40 + "'"),
        (
            '{"type":"setlanguage"}',
            "bad-message",
            "bad-message: setlanguage: Object missing required field `lang`",
        ),
        (
            '{"type":"setlanguage","lang":5}',
            "bad-message",
            "bad-message: setlanguage: Expected `str`, got `int` - at `$.lang`",
        ),
        (
            '{"type":"setlanguage","lang":"' + "e" * 36 + '"}',
            "bad-message",
            "bad-message: setlanguage: Expected `str` of length <= 35 - at `$.lang`",
        ),
        (
            '{"type":"subscribe","stream_id":-1}',
            "bad-message",
            "bad-message: subscribe: Expected `int` >= 0 - at `$.stream_id`",
        ),
        (
            '{"type":"subscribe","stream_id":' + "9" * 4_000 + "}",
            "bad-message",
            "bad-message: subscribe: Expected `int` <= 9223372036854775807 - at `$.stream_id`",
        ),
        (
            '{"type":"subscribe","stream_id":1.5}',
            "bad-message",
            "bad-message: subscribe: Expected `int`, got `float` - at `$.stream_id`",
        ),
        (
            " " * 65_537,
            "bad-message",
            "bad-message: 65537 characters are too long for a command; at most 65536",
        ),
    ],
)
def test_the_rest_is_refused_with_a_reason(text: str, code: str, message: str) -> None:
    with pytest.raises(PeerProtocolError) as refused:
        ears.decode_command(text)
    assert (refused.value.code, str(refused.value)) == (code, message)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(ears.Authenticate("secret"))


def test_audio_is_made_finite_and_clamped() -> None:
    message = np.array([0.5, np.nan, np.inf, -np.inf, 1.5, -2, -1, 1e-40], "<f4").tobytes()
    heard = np.frombuffer(b"".join(ears.audio_blocks(message)), "<f4")
    np.testing.assert_array_equal(heard, np.array([0.5, 0, 0, 0, 1, -1, -1, 1e-40], "<f4"))


@pytest.mark.parametrize(
    ("length", "kept", "ragged"), [(0, 0, 0), (1, 0, 1), (3, 0, 3), (4, 4, 0), (10, 8, 2)]
)
def test_a_ragged_end_is_dropped(length: int, kept: int, ragged: int) -> None:
    message = bytes(length)
    assert b"".join(ears.audio_blocks(message)) == bytes(kept)
    assert ears.ragged_bytes(message) == ragged


def test_long_messages_come_in_blocks() -> None:
    lengths = [len(block) for block in ears.audio_blocks(bytes(100_003))]
    assert lengths == [48_000, 48_000, 4_000]


def test_live_words_have_no_end_by_default() -> None:
    assert encoded(FinalWords((HELLO, WORLD))) == [
        {"type": "word", "word": "Hello,", "start_time": 0.1, "end_time": None, "confidence": 0.988},
        {"type": "word", "word": "wörld.", "start_time": 0.5, "end_time": None, "confidence": 0.5},
    ]


def test_live_words_have_their_end_if_asked_for() -> None:
    assert encoded(FinalWords((HELLO,)), timestamps=True) == [
        {"type": "word", "word": "Hello,", "start_time": 0.1, "end_time": 0.5, "confidence": 0.988}
    ]


def test_a_final_holds_the_text_and_all_words_with_their_ends() -> None:
    assert encoded(FinalText((HELLO, WORLD), Samples(20_000))) == [
        {
            "type": "final",
            "text": "Hello, wörld.",
            "words": [
                {"word": "Hello,", "start_time": 0.1, "end_time": 0.5, "confidence": 0.988},
                {"word": "wörld.", "start_time": 0.5, "end_time": 1.0, "confidence": 0.5},
            ],
        }
    ]


def test_an_empty_final_is_sent_all_the_same() -> None:
    assert encoded(FinalText((), Samples(0))) == [{"type": "final", "text": "", "words": []}]


@pytest.mark.parametrize(
    ("event", "messages"),
    [
        (
            Segment((HELLO, WORLD)),
            [{"type": "segment", "text": "Hello, wörld.", "start_time": 0.1, "end_time": 1.0}],
        ),
        (
            Language("en", 0.95),
            [{"type": "language_detected", "lang": "en", "language": "en", "confidence": 0.95}],
        ),
        (Pause(Samples(16_000)), [{"type": "pause", "timestamp": 12.5}]),
    ],
)
def test_other_events(event: Event, messages: list[object]) -> None:
    assert encoded(event) == messages


def test_pauses_can_be_left_out() -> None:
    assert encoded(Pause(Samples(0)), vad=False) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ears.engine_changed(), {"type": "enginechanged", "engine": "parakeet"}),
        (ears.language_changed("en"), {"type": "languagechanged", "lang": "en"}),
        (
            ears.status(
                paused=True,
                vad=True,
                timestamps=False,
                lang=None,
                model=ModelStatus(wanted="big", serving="small", phase="fetching", done=0.5),
            ),
            {
                "type": "status",
                "paused": True,
                "vad": True,
                "timestamps": False,
                "vad_timeout": None,
                "lang": None,
                "engine": "parakeet",
                "model": "small",
                "loading": {
                    "phase": "fetching",
                    "done": 0.5,
                    "text": "big is being fetched (50%); small serves until then",
                },
            },
        ),
        (ears.authenticated(), {"type": "authenticated", "success": True}),
        (ears.streams([3, 1, 2]), {"type": "streams", "stream_ids": [1, 2, 3]}),
        (ears.subscribed(3), {"type": "subscribed", "stream_id": 3}),
        (ears.error("no", "x"), {"type": "error", "message": "no", "code": "x"}),
    ],
)
def test_messages_have_all_their_members(text: str, message: object) -> None:
    assert json.loads(text) == message
