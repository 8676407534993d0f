"""Our clients against our servers, against fakes of other people's, and against broken ones."""

import asyncio
import json
import math
import socket
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from websockets.asyncio.server import ServerConnection, serve
from wyoming.asr import Transcript as WyomingTranscript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import async_read_event, async_write_event

from ears_edge import clients
from ears_edge.audio.files import open_audio
from ears_edge.audio.pcm import PcmFormat, encode_f32, encode_s16
from ears_edge.clients.exchange import ANSWER_TIMEOUT_S, Exchange
from ears_edge.config import EarsConfig, EngineConfig, WyomingConfig
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import ServerError
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.transcript import Transcript
from ears_edge.units import SAMPLE_RATE, seconds
from ears_edge.uri import server_address
from tests.fakes import FakeRecognizer, fake_engine, tone

Protocol = Literal["tcp", "unix", "ws"]
PROTOCOLS: list[Protocol] = ["tcp", "unix", "ws"]
LEVELS = [0, 0, 12, 12, 8, 8, 0, 0, 0, 0, 0, 0, 10, 10, 0, 0]
TEXT = "w11 w7 w9"


@pytest.fixture
def speech(tmp_path: Path) -> str:
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(encode_s16(tone(LEVELS, 4)))
    return str(path)


@asynccontextmanager
async def served(protocol: Protocol, folder: Path, engine: Engine | None = None) -> AsyncIterator[str]:
    """One of our servers, with an engine that hears loudness; gives its URI."""
    async with AsyncExitStack() as stack:
        if engine is None:
            engine = await stack.enter_async_context(fake_engine())
        if protocol == "ws":
            ears = await stack.enter_async_context(EarsServer(EarsConfig(host="127.0.0.1", port=0), engine))
            yield f"ws://127.0.0.1:{ears.addresses[0][1]}"
        else:
            uri = "tcp://127.0.0.1:0" if protocol == "tcp" else f"unix://{folder / 's'}"
            server = await stack.enter_async_context(WyomingServer(WyomingConfig(uri=uri), engine))
            yield server.addresses[0]


async def ask(uri: str, file: str, **how: object) -> Transcript:
    with open_audio(file) as source:
        return await clients.transcribe(server_address(uri), source, **how)  # type: ignore[arg-type]  # handed on


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_file_becomes_text(protocol: Protocol, tmp_path: Path, speech: str) -> None:
    async with served(protocol, tmp_path) as uri:
        transcript = await ask(uri, speech)
    assert transcript.text == TEXT
    assert transcript.language == "en"
    assert transcript.duration == len(tone(LEVELS, 4))


async def test_over_ears_words_have_times_and_segments(tmp_path: Path, speech: str) -> None:
    async with served("ws", tmp_path) as uri:
        transcript = await ask(uri, speech)
    assert transcript.segments is not None
    words = [word for segment in transcript.segments for word in segment.words]
    assert [word.text for word in words] == TEXT.split()
    assert [seconds(word.start) for word in words] == pytest.approx([0.64, 1.28, 3.84], abs=0.17)
    assert not any(math.isnan(word.confidence) for word in words)


async def test_over_wyoming_there_are_no_word_times(tmp_path: Path, speech: str) -> None:
    async with served("tcp", tmp_path) as uri:
        assert (await ask(uri, speech)).segments is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_pieces_said_add_up_and_progress_reaches_the_end(
    protocol: Protocol, tmp_path: Path, speech: str
) -> None:
    pieces: list[str] = []
    done: list[float] = []
    async with served(protocol, tmp_path) as uri:
        transcript = await ask(uri, speech, said=pieces.append, progress=done.append)
    assert "".join(pieces) == transcript.text == TEXT
    assert done == sorted(done)
    assert done[-1] == pytest.approx(seconds(transcript.duration))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_another_pace_waits_before_each_block_and_changes_no_word(
    protocol: Protocol, tmp_path: Path, speech: str
) -> None:
    waited: list[float] = []

    async def pace(until_s: float) -> None:
        waited.append(until_s)
        await asyncio.sleep(0)

    async with served(protocol, tmp_path) as uri:
        transcript = await ask(uri, speech, pace=pace)
    assert transcript.text == TEXT
    duration = seconds(transcript.duration)
    assert waited == pytest.approx([0.08 * (block + 1) for block in range(round(duration / 0.08))])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_busy_server_says_so_with_its_code(protocol: Protocol, tmp_path: Path, speech: str) -> None:
    async with fake_engine(config=EngineConfig(max_sessions=1)) as engine:
        engine.open(SessionOptions())
        async with served(protocol, tmp_path, engine) as uri:
            with pytest.raises(ServerError, match=r"answered: .*\(busy\)") as caught:
                await ask(uri, speech)
    assert caught.value.code == "busy"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_engine_that_fails_is_told_with_its_code(
    protocol: Protocol, tmp_path: Path, speech: str
) -> None:
    recognizer = FakeRecognizer()
    recognizer.fail = True
    async with fake_engine(recognizer) as engine, served(protocol, tmp_path, engine) as uri:
        with pytest.raises(ServerError) as caught:
            await ask(uri, speech)
    assert caught.value.code == "inference"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_where_nobody_listens_the_user_is_told_what_to_check(scheme: str, speech: str) -> None:
    uri = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(ServerError, match="Is the server running") as caught:
        await ask(uri, speech)
    assert caught.value.code == "server-unreachable"
    assert uri in str(caught.value)


async def test_a_unix_socket_that_is_not_there_is_told(tmp_path: Path, speech: str) -> None:
    with pytest.raises(ServerError, match="No such file"):
        await ask(f"unix://{tmp_path}/none", speech)


@pytest.mark.parametrize("uri", ["tcp://" + "a" * 70, "ws://" + "a" * 70])
async def test_a_host_name_that_can_not_be_one_is_told(uri: str, speech: str) -> None:
    with pytest.raises(ServerError, match="can't be reached"):
        await ask(uri, speech)


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(behaviour: Behaviour) -> AsyncIterator[str]:
    """A TCP server of any behaviour; gives host and port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def websocket(behaviour: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(behaviour, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def test_a_wyoming_server_that_hangs_up_is_told(speech: str) -> None:
    async def behaviour(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async with raw(behaviour) as where:
        with pytest.raises(ServerError, match="closed the connection") as caught:
            await ask(f"tcp://{where}", speech)
    assert caught.value.code == "server-gone"


async def test_what_is_no_wyoming_server_is_told(speech: str) -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw(behaviour) as where:
        with pytest.raises(ServerError, match="does not answer as a Wyoming server") as caught:
            await ask(f"tcp://{where}", speech)
    assert caught.value.code == "server-protocol"


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\n\n", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_is_no_websocket_server_is_told(answer: bytes, speech: str) -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw(behaviour) as where:
        with pytest.raises(ServerError, match="can't be reached") as caught:
            await ask(f"ws://{where}", speech)
    assert caught.value.code == "server-unreachable"
    assert ("HTTP status 403" in str(caught.value)) == (b"403" in answer)


async def test_an_ears_server_that_hangs_up_is_told(speech: str) -> None:
    async def behaviour(socket: ServerConnection) -> None:
        await socket.recv()

    async with websocket(behaviour) as uri:
        with pytest.raises(ServerError, match="closed the connection") as caught:
            await ask(uri, speech)
    assert caught.value.code == "server-gone"


async def test_an_ears_server_that_talks_nonsense_is_told(speech: str) -> None:
    async def behaviour(socket: ServerConnection) -> None:
        await socket.send("nonsense")
        await socket.wait_closed()

    async with websocket(behaviour) as uri:
        with pytest.raises(ServerError, match="does not answer as an eaRS server"):
            await ask(uri, speech)


async def test_the_original_ears_server_is_understood(speech: str) -> None:
    heard: list[str | bytes] = []

    async def behaviour(socket: ServerConnection) -> None:
        async for message in socket:
            heard.append(message)
            if len(heard) == 1:
                await socket.send(json.dumps({"type": "enginechanged", "engine": "parakeet"}))
                await socket.send(
                    json.dumps({"type": "word", "word": "Hi", "start_time": 0.1, "end_time": None})
                )
            if message == '{"type":"stop"}':
                words = [{"word": "Hi", "start_time": 0.1, "end_time": 0.2}]
                await socket.send(json.dumps({"type": "final", "text": "Hi", "words": words}))
                await socket.close()

    async with websocket(behaviour) as uri:
        transcript = await ask(uri, speech, language="de")
    assert (transcript.text, transcript.language) == ("Hi", "de")
    assert heard[0] == '{"type":"setlanguage","lang":"de"}'
    audio = b"".join(message for message in heard if isinstance(message, bytes))
    assert len(audio) == len(tone(LEVELS, 4)) * 4 * 3 // 2


async def test_an_error_without_a_code_is_told_as_it_is(speech: str) -> None:
    async def behaviour(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "error", "message": "internal server error"}))
        await socket.wait_closed()

    async with websocket(behaviour) as uri:
        with pytest.raises(ServerError, match=r"answered: internal server error$") as caught:
            await ask(uri, speech)
    assert caught.value.code == "server"


@dataclass
class Endless:
    """Audio without an end."""

    fmt: PcmFormat
    block: bytes
    name: str = "endless"
    duration_s: float | None = None
    damage: str | None = None

    def blocks(self, _seconds: float) -> Iterator[bytes]:
        while True:
            yield self.block


@pytest.mark.parametrize(
    ("fmt", "block", "expected"),
    [
        (PcmFormat(44_100, 2, 2), b"\1\2\3\4" * 100, (44_100, 2, 2, b"\1\2\3\4" * 100)),
        (PcmFormat(8_000, 1, 1), b"\x80\xc0" * 50, (8_000, 2, 1, b"\0\0\0\x40" * 50)),
        (PcmFormat(48_000, 4, 2, "float"), encode_f32(tone([0])[:100] + 0.5), (48_000, 2, 1, b"\0\x40" * 50)),
        (PcmFormat(48_000, 3, 1), b"\0\0\x40" * 50, (48_000, 2, 1, b"\0\x40" * 50)),
    ],
)
async def test_wyoming_servers_get_16_bits_and_an_early_transcript_ends_the_sending(
    fmt: PcmFormat, block: bytes, expected: tuple[int, int, int, bytes]
) -> None:
    chunks: list[AudioChunk] = []

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while event := await async_read_event(reader):
            assert not AudioStop.is_type(event.type)
            if AudioStart.is_type(event.type):
                start = AudioStart.from_event(event)
                assert (start.rate, start.width, start.channels) == expected[:3]
            if AudioChunk.is_type(event.type):
                chunks.append(AudioChunk.from_event(event))
                if len(chunks) == 3:
                    await async_write_event(WyomingTranscript("enough").event(), writer)

    async with raw(behaviour) as where:
        transcript = await clients.transcribe(server_address(f"tcp://{where}"), Endless(fmt, block))
    assert transcript.text == "enough"
    for chunk in chunks:
        assert (chunk.rate, chunk.width, chunk.channels, chunk.audio) == expected


async def nothing() -> None:
    """All is sent at once."""


async def test_a_server_that_stays_silent_is_not_waited_for_without_end() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(ServerError, match=r"has said nothing for 0\.01 s") as caught:
        await Exchange("it", answer_timeout_s=0.01).run(nothing(), wait())
    assert caught.value.code == "server-silent"
    assert ANSWER_TIMEOUT_S > 60


async def test_silence_counts_from_the_last_message_on() -> None:
    exchange = Exchange("it", answer_timeout_s=3_600)
    deadlines: list[float] = []

    async def receive() -> str:
        for _ in range(20):  # the first few turns of the loop pass before all is sent
            await asyncio.sleep(0)
            exchange.heard_from()
            if exchange._limit is not None:
                deadlines.append(exchange._limit.when() or 0.0)
        return "text"

    assert await exchange.run(nothing(), receive()) == "text"
    assert len(deadlines) > 2
    assert deadlines[0] > 0
    assert deadlines == sorted(set(deadlines))


async def test_what_goes_wrong_while_reading_the_audio_is_told() -> None:
    async def send() -> None:
        raise ValueError("disk")

    with pytest.raises(ValueError, match="disk"):
        await Exchange("it").run(send(), asyncio.Event().wait())
