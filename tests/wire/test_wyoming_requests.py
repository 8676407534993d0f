"""Typed requests from frames, and answers as the `wyoming` package understands them."""

import io

import pytest
from wyoming.asr import (
    Transcribe,
    Transcript,
    TranscriptChunk,
    TranscriptStart,
    TranscriptStop,
    VadSensitivity,
)
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, read_event
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping, Pong

import ears_edge
from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import AudioFormatError, PeerProtocolError
from ears_edge.models.folder import Attribution, ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.wire import wyoming
from ears_edge.wire.wyoming_frames import Frame


def frame(message: Eventable) -> Frame:
    event = message.event()
    return Frame(event.type, event.data, event.payload or b"")


def read(answer: bytes) -> Event:
    stream = io.BytesIO(answer)
    event = read_event(stream)
    assert event is not None
    assert not stream.read()
    return event


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        (Describe(), wyoming.Describe()),
        (SelectProgram("x"), wyoming.SelectProgram(name="x")),
        (Transcribe(), wyoming.Transcribe()),
        (
            Transcribe("m", "de", {"a": [1]}, VadSensitivity.RELAXED, ["Ada"], ["lamp"]),
            wyoming.Transcribe(
                name="m",
                language="de",
                context={"a": [1]},
                vad_sensitivity="relaxed",
                transcript_names=("Ada",),
                transcript_terms=("lamp",),
            ),
        ),
        (Transcribe(vad_sensitivity="other"), wyoming.Transcribe(vad_sensitivity="other")),
        (AudioStart(8_000, 1, 2), wyoming.AudioStart(rate=8_000, width=1, channels=2)),
        (
            AudioChunk(16_000, 2, 1, b"ab", timestamp=7),
            wyoming.AudioChunk(rate=16_000, width=2, channels=1, audio=b"ab", timestamp=7),
        ),
        (AudioStop(), wyoming.AudioStop()),
        (AudioStop(12), wyoming.AudioStop(timestamp=12)),
        (Ping(), wyoming.Ping()),
        (Ping("hi"), wyoming.Ping(text="hi")),
    ],
)
def test_every_request_of_the_wyoming_package_is_understood(
    message: Eventable, request_: wyoming.Request
) -> None:
    assert wyoming.decode(frame(message)) == request_


@pytest.mark.parametrize("kind", ["info", "transcript", "voice-started", "synthesize", "x", "Describe"])
def test_types_without_an_answer_are_no_request(kind: str) -> None:
    assert wyoming.decode(Frame(kind, {"rate": "wrong"})) is None


AUDIO: dict[str, object] = {"rate": 16_000, "width": 2, "channels": 1}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("select-program", {}),
        ("select-program", {"name": None}),
        ("select-program", {"name": 5}),
        ("transcribe", {"language": 5}),
        ("transcribe", {"name": []}),
        ("transcribe", {"context": "text"}),
        ("transcribe", {"vad_sensitivity": 0.5}),
        ("transcribe", {"transcript_names": "Ada"}),
        ("transcribe", {"transcript_terms": ["lamp", None]}),
        ("audio-start", {}),
        ("audio-start", {**AUDIO, "rate": None}),
        ("audio-start", {**AUDIO, "rate": "16000"}),
        ("audio-start", {**AUDIO, "rate": 16000.5}),
        ("audio-start", {**AUDIO, "width": True}),
        ("audio-start", {**AUDIO, "rate": 10**30}),
        ("audio-start", {**AUDIO, "timestamp": "now"}),
        ("audio-chunk", {"rate": 16_000, "width": 2}),
        ("audio-stop", {"timestamp": False}),
        ("ping", {"text": 1}),
    ],
)
def test_wrong_data_is_a_bad_event_that_names_the_event(kind: str, data: dict[str, object]) -> None:
    with pytest.raises(PeerProtocolError, match=f"`{kind}`") as caught:
        wyoming.decode(Frame(kind, data))
    assert caught.value.code == "bad-event"


def nested(levels: int, *, innermost: object) -> dict[str, object]:
    """Objects and arrays, in turn, around `innermost`."""
    context: dict[str, object] = {"x": innermost}
    for level in range(1, levels):
        context = {"x": context} if level % 2 else {"x": [context]}
    return context


def test_a_context_may_nest_as_deep_as_the_limit_says() -> None:
    # 21 levels of objects, ten of which stand in an array, and an innermost array.
    context = nested(21, innermost=[1])
    assert wyoming.MAX_CONTEXT_DEPTH == 32
    assert wyoming.decode(Frame("transcribe", {"context": context})) == wyoming.Transcribe(context=context)
    assert read(wyoming.transcript("", None, context)).data["context"] == context


@pytest.mark.parametrize(
    "context", [nested(21, innermost=[[1]]), nested(33, innermost=1)], ids=["array", "object"]
)
def test_a_context_that_nests_deeper_is_a_bad_event(context: dict[str, object]) -> None:
    with pytest.raises(PeerProtocolError, match="deeper than 32") as caught:
        wyoming.decode(Frame("transcribe", {"context": context}))
    assert caught.value.code == "bad-event"


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_width_one_is_unsigned_and_wider_samples_are_signed(width: int) -> None:
    request = wyoming.AudioStart(rate=44_100, width=width, channels=2)
    assert request.format() == PcmFormat(44_100, width, 2, "unsigned" if width == 1 else "signed")


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"rate": -16_000}, {"width": 0}, {"width": 9}, {"channels": 0}, {"channels": -1}]
)
def test_audio_that_does_not_exist_is_bad_audio(wrong: dict[str, int]) -> None:
    request = wyoming.decode(Frame("audio-start", {**AUDIO, **wrong}))
    assert isinstance(request, wyoming.AudioStart)
    with pytest.raises(AudioFormatError) as caught:
        request.format()
    assert caught.value.code == "bad-audio"


def test_names_stand_before_terms_and_blank_words_are_left_out() -> None:
    request = wyoming.Transcribe(transcript_names=("Ada", " "), transcript_terms=("", " lamp "))
    assert request.words_to_expect == ("Ada", "lamp")


def test_info_tells_of_one_program_with_one_model() -> None:
    model = ModelInfo(
        name="m",
        version="3",
        description="d",
        languages=("en", "de"),
        attribution=Attribution(name="who", url="https://example.org"),
    )
    event = read(wyoming.info(model, ModelStatus(wanted="m", serving="m")))
    info = Info.from_event(event)
    assert (event.data or {})["model_status"]["serving"] == "m"
    [program] = info.asr
    assert not any((info.tts, info.handle, info.intent, info.wake, info.mic, info.snd, info.satellite))
    assert (program.name, program.version, program.installed) == ("ears-edge", ears_edge.__version__, True)
    assert program.supports_transcript_streaming
    assert program.requires_external_vad
    [announced] = program.models
    assert (announced.name, announced.version, announced.description) == ("m", "3", "d")
    assert announced.languages == ["en", "de"]
    assert announced.installed
    assert (announced.attribution.name, announced.attribution.url) == ("who", "https://example.org")


def test_info_of_a_model_on_its_way_has_its_languages_and_says_how_far_it_is() -> None:
    model = ModelInfo(name="m", description="d", languages=("en", "de"))
    status = ModelStatus(wanted="m", serving="s", phase="loading")
    event = read(wyoming.info(model, status))
    [announced] = Info.from_event(event).asr[0].models
    assert (announced.installed, announced.languages) == (True, ["en", "de"])
    assert announced.description == "d; m is being loaded; s serves until then"
    assert (event.data or {})["model_status"]["phase"] == "loading"


def test_answers_are_those_of_the_wyoming_package() -> None:
    context: dict[str, object] = {"id": 10**30}
    for ours, theirs in [
        (wyoming.transcript_start("en", context), TranscriptStart(context, "en")),
        (wyoming.transcript_chunk(" grüße"), TranscriptChunk(" grüße")),
        (wyoming.transcript("grüße", "de", None), Transcript("grüße", language="de")),
        (wyoming.transcript_stop(), TranscriptStop()),
        (wyoming.pong("x"), Pong("x")),
        (wyoming.error("no room; come back", "busy"), Error("No room; come back.", "busy")),
    ]:
        assert read(ours) == theirs.event()
