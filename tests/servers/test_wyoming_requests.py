"""What a Wyoming client gets for what it asks, utterance after utterance."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping

from ears_edge.audio.pcm import PcmFormat
from ears_edge.config import WyomingConfig
from ears_edge.errors import AudioFormatError, InferenceError
from ears_edge.models.folder import ModelInfo
from ears_edge.servers.wyoming import WyomingServer
from tests.servers.wyoming_fakes import START, STOP, Client, FakeEngine, chunk, inline, utterance

CONFIG = WyomingConfig(uri="tcp://127.0.0.1:0")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(max_sessions=1)


@pytest.fixture
async def server(engine: FakeEngine) -> AsyncIterator[WyomingServer]:
    async with WyomingServer(CONFIG, engine) as server:
        yield server


@pytest.fixture
async def client(server: WyomingServer) -> AsyncIterator[Client]:
    async with await Client.to(server.addresses[0]) as client:
        yield client


def kinds(messages: list[Event]) -> list[str]:
    return [message.type for message in messages]


def told(messages: list[Event]) -> str:
    """The chunks, added up; checked against the order and the transcript."""
    assert kinds(messages)[:1] == ["transcript-start"]
    assert kinds(messages)[-2:] == ["transcript", "transcript-stop"]
    assert set(kinds(messages)[1:-2]) <= {"transcript-chunk"}
    text = "".join(message.data["text"] for message in messages[1:-2])
    assert text == messages[-2].data["text"]
    return text


async def still_open(client: Client) -> bool:
    """Nothing but the pong comes, so nothing was left unread and the connection stays."""
    await client.send(Ping("still there?"))
    return kinds(await client.until("pong")) == ["pong"]


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
async def test_the_wyoming_packages_own_client_is_served(
    scheme: str, tmp_path: Path, engine: FakeEngine
) -> None:
    uri = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/ears.sock"
    async with (
        WyomingServer(WyomingConfig(uri=uri), engine) as server,
        AsyncClient.from_uri(server.addresses[0], connect_timeout=30, read_timeout=30) as client,
    ):
        await client.write_event(Describe().event())
        described = await client.read_event()
        assert described is not None
        assert Info.from_event(described).asr[0].models[0].name == engine.model.name
        await client.write_event(Transcribe(language="de", context={"turn": 3}).event())
        await client.write_event(AudioStart(16_000, 2, 1).event())
        await client.write_event(AudioChunk(16_000, 2, 1, bytes(640)).event())
        await client.write_event(AudioStop().event())
        messages: list[Event] = []
        while not messages or messages[-1].type != "transcript-stop":
            event = await client.read_event()
            assert event is not None
            messages.append(event)
    assert told(messages) == "heard 640 bytes"
    assert Transcript.from_event(messages[-2]) == Transcript("heard 640 bytes", {"turn": 3}, "de")


async def test_frames_as_home_assistant_sends_them(client: Client, engine: FakeEngine) -> None:
    audio = b'{"type": "audio-chunk", "version": "1.10.2", "data_length": 62, "payload_length": 320}\n'
    data = b'{"rate": 16000, "width": 2, "channels": 1, "timestamp": null} '
    assert len(data) == 62
    await client.send(
        b'{"type": "transcribe", "version": "1.10.2", "data_length": 18}\n{"language": "en"}'
        b'{"type": "audio-start", "version": "1.10.2", "data_length": 59}\n'
        b'{"rate": 16000, "width": 2, "channels": 1, "timestamp": 0}\n'
    )
    for number in range(100):
        await client.send(audio + data + number.to_bytes() * 320)
    await client.send(b'{"type": "audio-stop", "version": "1.10.2", "data_length": 19}\n{"timestamp": null}')
    assert told(await client.until("transcript-stop")) == "heard 32000 bytes"
    assert engine.streams[0].pcm == b"".join(number.to_bytes() * 320 for number in range(100))
    assert {fmt for _, fmt in engine.streams[0].heard} == {PcmFormat(16_000, 2, 1)}


async def test_larger_chunks_as_from_its_rest_endpoint(client: Client) -> None:
    await client.send(utterance(40_000, language="en", step=4_096))
    assert told(await client.until("transcript-stop")) == "heard 40000 bytes"


async def test_inline_data_and_bytes_one_by_one_are_heard_all_the_same(client: Client) -> None:
    audio = {"rate": 16_000, "width": 2, "channels": 1}
    stream = (
        inline("transcribe")
        + inline("audio-start", audio)
        + inline("audio-chunk", audio, bytes(64))
        + inline("audio-stop")
    )
    for byte in stream:
        await client.send(bytes([byte]))
    assert told(await client.until("transcript-stop")) == "heard 64 bytes"


async def test_several_utterances_follow_on_one_connection(client: Client, engine: FakeEngine) -> None:
    for size in (320, 640, 960):
        await client.send(utterance(size))
        assert told(await client.until("transcript-stop")) == f"heard {size} bytes"
    assert not engine.open_streams


async def test_utterances_sent_ahead_are_answered_one_after_the_other(client: Client) -> None:
    await client.send(*(utterance(size) for size in (320, 640, 960)))
    for size in (320, 640, 960):
        assert told(await client.until("transcript-stop")) == f"heard {size} bytes"
    assert await still_open(client)


async def test_a_large_chunk_reaches_the_engine_in_bounded_pieces(client: Client, engine: FakeEngine) -> None:
    await client.send(utterance(1_000_000, step=1_000_000))
    assert told(await client.until("transcript-stop")) == "heard 1000000 bytes"
    assert max(len(block) for block, _ in engine.streams[0].heard) <= 65_536


async def test_describe_is_answered_while_a_decode_runs(
    server: WyomingServer, client: Client, engine: FakeEngine
) -> None:
    engine.decoded.clear()
    await client.send(utterance())
    await engine.decoding.wait()
    async with await Client.to(server.addresses[0]) as other:
        await other.send(Describe(), Ping("quick"))
        assert kinds(await other.until("pong")) == ["info", "pong"]
    await client.send(Describe())
    assert "transcript" not in kinds(await client.until("info"))
    engine.decoded.set()
    assert kinds(await client.until("transcript-stop"))[-2:] == ["transcript", "transcript-stop"]


async def test_info_follows_the_model(client: Client, engine: FakeEngine) -> None:
    for name in ("first", "second"):
        engine.model = ModelInfo(name=name)
        for _ in range(2):
            await client.send(Describe())
            [info] = await client.until("info")
            assert Info.from_event(info).asr[0].models[0].name == name


async def test_live_words_come_before_the_end_of_audio(engine: FakeEngine) -> None:
    config = WyomingConfig(uri=CONFIG.uri, live_words=True)
    async with WyomingServer(config, engine) as server, await Client.to(server.addresses[0]) as client:
        await client.send(START, chunk())
        live = await client.until("transcript-chunk")
        assert live[-1].data["text"] == "block1"
        await client.send(chunk(), STOP)
        assert told(live + await client.until("transcript-stop")) == "block1 block2 heard 640 bytes"
        assert engine.streams[0].options.live_words


@pytest.mark.parametrize("before", [b"", START, START + chunk(0)])
async def test_no_audio_gives_an_empty_transcript_and_takes_no_slot(
    before: bytes, client: Client, engine: FakeEngine
) -> None:
    await client.send(Transcribe(language="DE", context={"a": 1}), before, STOP)
    messages = await client.until("transcript-stop")
    assert told(messages) == ""
    assert messages[1].data == {"text": "", "language": "de", "context": {"a": 1}}
    assert not engine.streams


async def test_chunks_without_audio_start_are_heard(client: Client, engine: FakeEngine) -> None:
    await client.send(chunk(60, rate=8_000, width=3, channels=2), STOP)
    assert told(await client.until("transcript-stop")) == "heard 60 bytes"
    assert engine.streams[0].heard == [(bytes(60), PcmFormat(8_000, 3, 2))]


async def test_a_chunks_own_format_counts(client: Client, engine: FakeEngine) -> None:
    await client.send(START, chunk(40, width=1), chunk(40, rate=48_000), STOP)
    await client.until("transcript-stop")
    assert [fmt for _, fmt in engine.streams[0].heard] == [
        PcmFormat(16_000, 1, 1, "unsigned"),
        PcmFormat(48_000, 2, 1),
    ]


async def test_a_second_audio_start_begins_again(client: Client, engine: FakeEngine) -> None:
    await client.send(Transcribe(language="de"), START, chunk(), START, chunk(100), STOP)
    assert told(await client.until("transcript-stop")) == "heard 100 bytes"
    assert [stream.closed.is_set() for stream in engine.streams] == [True, True]
    assert [stream.options.language for stream in engine.streams] == ["de", "de"]
    assert await still_open(client)


async def test_transcribe_holds_for_one_utterance(client: Client, engine: FakeEngine) -> None:
    names = Transcribe(language="de_AT", transcript_names=["Ada"], transcript_terms=["lamp"])
    await client.send(names, START, chunk(), STOP, START, chunk(), STOP)
    for _ in range(2):
        await client.until("transcript-stop")
    first, second = (stream.options for stream in engine.streams)
    assert (first.language, first.terms) == ("de", ("Ada", "lamp"))
    assert (second.language, second.terms) == (None, ())


async def test_an_utterance_that_fails_takes_its_transcribe_with_it(
    client: Client, engine: FakeEngine
) -> None:
    await client.send(Transcribe(language="de"), AudioStart(0, 2, 1), STOP, START, chunk(), STOP)
    assert kinds(await client.until("transcript-stop"))[0] == "error"
    assert engine.streams[0].options.language is None


async def test_transcribe_during_audio_holds_for_the_next_utterance(
    client: Client, engine: FakeEngine
) -> None:
    await client.send(START, chunk(), Transcribe(language="de"), chunk(), STOP, START, chunk(), STOP)
    for _ in range(2):
        await client.until("transcript-stop")
    assert [stream.options.language for stream in engine.streams] == [None, "de"]


async def test_transcribe_before_the_first_audio_holds_for_the_running_one(
    client: Client, engine: FakeEngine
) -> None:
    await client.send(START, Transcribe(language="de"), chunk(), STOP)
    await client.until("transcript-stop")
    assert engine.streams[0].options.language == "de"


@pytest.mark.parametrize("language", [None, "", "  "])
async def test_no_language_asked_is_none_given(
    language: str | None, client: Client, engine: FakeEngine
) -> None:
    await client.send(utterance(language=language))
    await client.until("transcript-stop")
    assert engine.streams[0].options.language is None


@pytest.mark.parametrize("language", ["en", "EN", "en-US", "en_US", "en-Latn-GB"])
async def test_a_language_is_compared_by_its_bare_code(
    language: str, client: Client, engine: FakeEngine
) -> None:
    await client.send(utterance(language=language))
    assert (await client.until("transcript-stop"))[-2].data["language"] == "en"
    assert engine.streams[0].options.language == "en"


async def test_a_model_that_names_no_language_takes_any(client: Client, engine: FakeEngine) -> None:
    engine.model = ModelInfo(name="any")
    await client.send(utterance(language="xx-YY"))
    await client.until("transcript-stop")
    assert engine.streams[0].options.language == "xx"


@pytest.mark.parametrize(
    "order", [Transcribe(), Transcribe(name=""), Transcribe(name="fake-model"), Transcribe(name="ears-edge")]
)
async def test_our_own_names_are_accepted(order: Transcribe, client: Client) -> None:
    await client.send(SelectProgram("ears-edge"), order, START, chunk(), STOP)
    assert told(await client.until("transcript-stop")) == "heard 320 bytes"


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (Transcribe(language="fr"), "unsupported-language"),
        (Transcribe(name="whisper"), "unknown-model"),
    ],
)
async def test_a_refused_order_is_the_utterances_one_answer(
    order: Transcribe, code: str, client: Client, engine: FakeEngine
) -> None:
    await client.send(order, START, chunk(), chunk(), STOP)
    [error] = await client.until("error")
    assert error.data["code"] == code
    assert await still_open(client)
    assert not engine.streams
    await client.send(utterance())
    assert told(await client.until("transcript-stop")) == "heard 640 bytes"


async def test_a_better_order_takes_the_place_of_a_refused_one(client: Client) -> None:
    await client.send(Transcribe(language="fr"), utterance(language="en"))
    messages = await client.until("transcript-stop")
    assert kinds(messages)[:1] == ["error"]
    assert told(messages[1:]) == "heard 640 bytes"


async def test_an_unknown_program_is_refused_and_ours_goes_on(client: Client) -> None:
    await client.send(SelectProgram("whisper" * 100))
    [error] = await client.until("error")
    assert error.data["code"] == "unknown-program"
    assert len(error.data["text"]) < 120
    await client.send(utterance())
    assert told(await client.until("transcript-stop")) == "heard 640 bytes"


async def test_a_full_engine_is_busy_and_the_connection_stays(
    server: WyomingServer, client: Client, engine: FakeEngine
) -> None:
    async with await Client.to(server.addresses[0]) as first:
        await first.send(START, chunk())
        await engine.feeding.wait()
        await client.send(utterance())
        [error] = await client.until("error")
        assert error.data["code"] == "busy"
        assert await still_open(client)
        await first.send(STOP)
        await first.until("transcript-stop")
    await client.send(utterance())
    assert told(await client.until("transcript-stop")) == "heard 640 bytes"


async def test_a_failing_decode_is_told_once_and_the_connection_stays(
    client: Client, engine: FakeEngine
) -> None:
    engine.decode_error = InferenceError("The model has failed.")
    await client.send(utterance())
    [error] = await client.until("error")
    assert error.data == {"text": "The model has failed.", "code": "inference"}
    assert await still_open(client)
    assert not engine.open_streams


async def test_audio_that_cannot_be_read_is_told_once_and_the_rest_is_swallowed(
    client: Client, engine: FakeEngine
) -> None:
    engine.feed_error = AudioFormatError("The RIFF header is broken.")
    await client.send(utterance(3_200))
    [error] = await client.until("error")
    assert error.data == {"text": "The RIFF header is broken.", "code": "bad-audio"}
    assert await still_open(client)
    assert not engine.open_streams
    engine.feed_error = None
    await client.send(utterance())
    assert told(await client.until("transcript-stop")) == "heard 640 bytes"


async def test_an_answer_that_comes_early_ends_the_utterance(client: Client, engine: FakeEngine) -> None:
    engine.limit_blocks = 2
    await client.send(START, chunk(), chunk())
    assert told(await client.until("transcript-stop")) == "heard 640 bytes"
    await client.send(chunk(), chunk(), STOP)
    assert await still_open(client)
    assert not engine.open_streams


async def test_events_that_are_no_request_are_passed_over(client: Client) -> None:
    more = b"".join(inline(kind, {"x": 1}) for kind in ("voice-started", "transcript", "run-pipeline"))
    await client.send(more, inline("unheard-of", None, bytes(100)))
    assert await still_open(client)


@pytest.mark.parametrize("text", [None, "", "grüße"])
async def test_pong_carries_the_pings_text(text: str | None, client: Client) -> None:
    await client.send(Ping(text))
    [pong] = await client.until("pong")
    assert pong.data == {"text": text}


async def test_context_comes_back_as_it_was(client: Client) -> None:
    context = {"id": 10**25, "nested": [{"ü": None}], "x": 0.5}
    await client.send(Transcribe(context=context), START, chunk(), STOP)
    messages = await client.until("transcript-stop")
    assert messages[0].data["context"] == context
    assert messages[-2].data["context"] == context


async def test_a_client_that_has_closed_its_side_still_gets_its_answer(
    client: Client, engine: FakeEngine
) -> None:
    engine.decoded.clear()
    await client.send(utterance())
    client.writer.write_eof()
    await engine.decoding.wait()
    engine.decoded.set()
    assert told(await client.rest()) == "heard 640 bytes"


async def test_an_utterance_cut_off_by_the_end_of_the_stream_is_dropped(
    client: Client, engine: FakeEngine
) -> None:
    await client.send(START, chunk())
    client.writer.write_eof()
    assert await client.rest() == []
    assert engine.streams[0].closed.is_set()
