"""A table of what goes wrong on the wire, each with its exact answer, and that nobody else pays for it."""

import json
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event, Eventable
from wyoming.info import SelectProgram
from wyoming.ping import Ping

from ears_edge.config import WyomingConfig
from ears_edge.servers.wyoming import WyomingServer
from tests.servers.wyoming_fakes import START, STOP, Client, FakeEngine, chunk, inline, utterance

AUDIO: dict[str, object] = {"rate": 16_000, "width": 2, "channels": 1}
DEEP: object = json.loads("[" * 60 + "]" * 60)


@dataclass(frozen=True)
class Case:
    """What is sent, and the codes of the errors that answer it; no other answer may come."""

    name: str
    sent: tuple[bytes | Eventable, ...]
    codes: tuple[str, ...]
    eof: bool = False


CLOSED = [
    Case("an empty line", (b"\n",), ("bad-header",)),
    Case("prose", (b"hello there\n",), ("bad-header",)),
    Case("an HTTP request", (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",), ("bad-header",)),
    Case("a TLS handshake", (b"\x16\x03\x01\x02\x00\x01\x00\n",), ("bad-header",)),
    Case("an array", (b"[]\n",), ("bad-header",)),
    Case("a string", (b'"describe"\n',), ("bad-header",)),
    Case("an empty object", (b"{}\n",), ("bad-header",)),
    Case("a type that is a number", (b'{"type":1}\n',), ("bad-header",)),
    Case("an empty type", (b'{"type":""}\n',), ("bad-header",)),
    Case("invalid UTF-8", (b'{"type":"\xff\xfe"}\n',), ("bad-header",)),
    Case("a lone surrogate", (b'{"type":"\\ud800"}\n',), ("bad-header",)),
    Case("NaN", (b'{"type":"ping","data":{"text":NaN}}\n',), ("bad-header",)),
    Case("a number out of range", (b'{"type":"ping","x":1e999}\n',), ("bad-header",)),
    Case("two objects on a line", (b'{"type":"ping"}{"type":"ping"}\n',), ("bad-header",)),
    Case("nesting without end", (b'{"type":"t","x":' + b"[" * 16_000 + b"\n",), ("bad-header",)),
    Case("data that is an array", (b'{"type":"ping","data":[]}\n',), ("bad-data",)),
    Case("a negative data length", (b'{"type":"ping","data_length":-1}\n',), ("bad-length",)),
    Case("a negative payload length", (b'{"type":"ping","payload_length":-5}\n',), ("bad-length",)),
    Case("a length that is a boolean", (b'{"type":"ping","data_length":true}\n',), ("bad-length",)),
    Case("a length that is text", (b'{"type":"ping","payload_length":"9"}\n',), ("bad-length",)),
    Case("a length that is a fraction", (b'{"type":"ping","payload_length":1.5}\n',), ("bad-length",)),
    Case(
        "a payload of 2 GB", (b'{"type":"audio-chunk","payload_length":2147483648}\n',), ("payload-too-long",)
    ),
    Case(
        "a payload of 10^60 bytes",
        (b'{"type":"x","payload_length":1%s}\n' % (b"0" * 60),),
        ("payload-too-long",),
    ),
    Case("data of 1 GB", (b'{"type":"ping","data_length":1073741824}\n',), ("data-too-long",)),
    Case("a line without end", (b"x" * 40_000,), ("header-too-long",)),
    Case("a long line", (b'{"type":"' + b"x" * 40_000 + b'"}\n',), ("header-too-long",)),
    Case("separate data that is no JSON", (b'{"type":"ping","data_length":3}\n{x}',), ("bad-data",)),
    Case("separate data that is an array", (b'{"type":"ping","data_length":2}\n[]',), ("bad-data",)),
    Case(
        "separate data with Infinity", (b'{"type":"ping","data_length":14}\n{"x":-Infinity}',), ("bad-data",)
    ),
    Case("audio in the place of a header", (START, b"\x00\x01" * 800 + b"\n"), ("bad-header",)),
    Case("noise in the midst of speech", (START, chunk(), b"noise\n", STOP), ("bad-header",)),
    Case("a payload longer than declared", (START, chunk() + b"\x01\x02\n"), ("bad-header",)),
    Case("a good event, then a bad one", (SelectProgram("x"), b"{]\n"), ("unknown-program", "bad-header")),
    Case("the end inside a header", (b'{"type":"desc',), ("truncated",), eof=True),
    Case(
        "the end inside the data", (b'{"type":"ping","data_length":20}\n{"text"',), ("truncated",), eof=True
    ),
    Case("the end inside a payload", (START, chunk()[:-1]), ("truncated",), eof=True),
    Case("the end before a payload", (b'{"type":"ping","payload_length":1}\n',), ("truncated",), eof=True),
]

OPEN = [
    Case("audio-start without data", (inline("audio-start"), STOP), ("bad-event",)),
    Case(
        "audio-start without rate", (inline("audio-start", {"width": 2, "channels": 1}), STOP), ("bad-event",)
    ),
    Case("a rate of null", (inline("audio-start", {**AUDIO, "rate": None}), chunk(), STOP), ("bad-event",)),
    Case("a rate that is text", (inline("audio-start", {**AUDIO, "rate": "16000"}), STOP), ("bad-event",)),
    Case("a rate of 10^30", (inline("audio-start", {**AUDIO, "rate": 10**30}), STOP), ("bad-event",)),
    Case(
        "a width that is a boolean", (inline("audio-start", {**AUDIO, "width": True}), STOP), ("bad-event",)
    ),
    Case("a rate of 0", (AudioStart(0, 2, 1), chunk(), chunk(), STOP), ("bad-audio",)),
    Case("a negative rate", (AudioStart(-16_000, 2, 1), STOP), ("bad-audio",)),
    Case("a rate of a billion", (AudioStart(10**9, 2, 1), STOP), ("bad-audio",)),
    Case("a width of 9", (AudioStart(16_000, 9, 1), chunk(), STOP), ("bad-audio",)),
    Case("no channel", (AudioStart(16_000, 2, 0), STOP), ("bad-audio",)),
    Case("a thousand channels", (AudioStart(16_000, 2, 1_000), STOP), ("bad-audio",)),
    Case(
        "a bad chunk in good audio", (START, AudioChunk(16_000, 0, 1, b"xy"), chunk(), STOP), ("bad-audio",)
    ),
    Case(
        "a chunk without a format", (START, inline("audio-chunk", {}, b"xy"), chunk(), STOP), ("bad-event",)
    ),
    Case("one bad chunk after the other", (*[AudioChunk(1, 2, 1, b"xy")] * 50, STOP), ("bad-audio",)),
    Case("bad chunks of two kinds", (AudioChunk(1, 2, 1, b""), inline("audio-chunk"), STOP), ("bad-audio",)),
    Case("two utterances that fail", (AudioStart(0, 2, 1), STOP) * 2, ("bad-audio",) * 2),
    Case("a bad audio-stop", (START, chunk(), inline("audio-stop", {"timestamp": "now"})), ("bad-event",)),
    Case("a bad audio-stop alone", (inline("audio-stop", {"timestamp": []}),), ("bad-event",)),
    Case(
        "a bad audio-stop after an error",
        (AudioStart(0, 2, 1), inline("audio-stop", {"timestamp": []})),
        ("bad-audio",),
    ),
    Case(
        "a language that is a number",
        (inline("transcribe", {"language": 5}), START, chunk(), STOP),
        ("bad-event",),
    ),
    Case(
        "a language not spoken", (Transcribe(language="xx"), START, chunk(), STOP), ("unsupported-language",)
    ),
    Case(
        "a language of 100 kB", (Transcribe(language="x" * 100_000), START, STOP), ("unsupported-language",)
    ),
    Case("a language, then no audio", (Transcribe(language="xx"), STOP), ("unsupported-language",)),
    Case("a model not here", (Transcribe(name="x"), START, chunk(), STOP), ("unknown-model",)),
    Case("a context that is text", (inline("transcribe", {"context": "x"}), START, STOP), ("bad-event",)),
    Case("a context nested too deep", (inline("transcribe", {"context": {"x": DEEP}}), STOP), ("bad-event",)),
    Case("terms that are no words", (inline("transcribe", {"transcript_terms": [1]}), STOP), ("bad-event",)),
    Case("a program not here", (SelectProgram("x"),), ("unknown-program",)),
    Case("a program without a name", (inline("select-program"),), ("bad-event",)),
    Case("a ping with a number", (inline("ping", {"text": 7}),), ("bad-event",)),
    Case("events nobody knows", (inline("x", {"rate": []}, b"abc"), inline("audio-pause")), ()),
    Case(
        "members that stand twice",
        (b'{"type":"x","type":"select-program","data":{"name":1,"name":"y"}}\n',),
        ("unknown-program",),
    ),
]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def server(engine: FakeEngine) -> AsyncIterator[WyomingServer]:
    async with WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine) as server:
        yield server


def codes(messages: list[Event]) -> tuple[str, ...]:
    assert {message.type for message in messages} <= {"error"}
    for message in messages:
        assert message.data["text"].endswith(".")
        assert len(message.data["text"]) < 300
    return tuple(message.data["code"] for message in messages)


async def nobody_else_pays(
    server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Another connection is served, no slot is kept, and the log holds no fault."""
    async with await Client.to(server.addresses[0]) as other:
        await other.send(utterance())
        assert (await other.until("transcript-stop"))[-2].data["text"] == "heard 640 bytes"
    assert not engine.open_streams
    assert [record for record in caplog.records if record.levelno > logging.INFO or record.exc_info] == []


@pytest.mark.parametrize("case", CLOSED, ids=lambda case: case.name)
async def test_bytes_that_cannot_be_read_on_from_are_answered_then_the_connection_is_closed(
    case: Case, server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(*case.sent)
        if case.eof:
            client.writer.write_eof()
        assert codes(await client.rest()) == case.codes
    await nobody_else_pays(server, engine, caplog)


@pytest.mark.parametrize("case", OPEN, ids=lambda case: case.name)
async def test_sound_events_that_ask_for_nonsense_are_answered_and_the_connection_stays(
    case: Case, server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(*case.sent, Ping("still there?"))
        assert codes((await client.until("pong"))[:-1]) == case.codes
        await client.send(utterance())
        assert (await client.until("transcript-stop"))[-2].data["text"] == "heard 640 bytes"
    await nobody_else_pays(server, engine, caplog)


def test_the_table_is_as_long_as_promised() -> None:
    assert len({case.name for case in CLOSED + OPEN}) == len(CLOSED) + len(OPEN) >= 60


async def test_an_error_is_read_even_if_the_client_goes_on_sending(server: WyomingServer) -> None:
    async with await Client.to(server.addresses[0]) as client:
        client.writer.write(b'{"type":"audio-chunk","payload_length":2147483648}\n' + bytes(8_000_000))
        assert codes(await client.rest()) == ("payload-too-long",)


async def test_a_fault_of_ours_is_told_logged_and_ends_that_connection_only(
    server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.crash = ZeroDivisionError("a bug")
    async with await Client.to(server.addresses[0]) as client:
        await client.send(utterance())
        assert codes(await client.rest()) == ("internal",)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info
    caplog.clear()
    engine.crash = None
    await nobody_else_pays(server, engine, caplog)


async def test_transcripts_are_logged_at_debug_only(
    server: WyomingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(utterance())
        await client.until("transcript-stop")
    told = [record.levelno for record in caplog.records if "heard 640 bytes" in record.getMessage()]
    assert told == [logging.DEBUG]


@pytest.mark.parametrize("seed", range(20))
async def test_random_damage_to_a_good_stream_hurts_nobody(
    seed: int, server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)  # noqa: S311  # a seeded test
    stream = bytearray(utterance(language="en") * 2)
    for _ in range(chance.randrange(1, 6)):
        stream[chance.randrange(len(stream))] = chance.randrange(256)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(bytes(stream))
        client.writer.write_eof()
        kinds = {message.type for message in await client.rest()}
        assert kinds <= {"error", "transcript-start", "transcript-chunk", "transcript", "transcript-stop"}
    await nobody_else_pays(server, engine, caplog)


def reset(client: Client) -> None:
    """Hang up at once, so that the other side sees a reset and not the end of the stream."""
    sock: socket.socket = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.abort()


@pytest.mark.parametrize("hang_up", [Client.abort, reset], ids=["end", "reset"])
async def test_a_client_that_vanishes_in_mid_utterance_frees_its_slot(
    hang_up: object, server: WyomingServer, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(hang_up)
    client = await Client.to(server.addresses[0])
    await client.send(START, chunk())
    await engine.feeding.wait()
    hang_up(client)
    await engine.streams[0].closed.wait()
    await nobody_else_pays(server, engine, caplog)
