"""The Wyoming server and the real engine together; only the recognizer is a fake."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from wyoming.event import Event
from wyoming.info import Describe

from ears_edge.audio.pcm import PcmFormat, encode_s16
from ears_edge.config import EngineConfig, WyomingConfig
from ears_edge.engine.scheduler import Engine
from ears_edge.servers.wyoming import WyomingServer
from tests.fakes import FakeRecognizer, fake_engine, tone
from tests.servers.unserved import heard
from tests.servers.wyoming_fakes import START, STOP, Client, audio

FORMAT = PcmFormat(16_000, 2, 1)
CONFIG = WyomingConfig(uri="tcp://127.0.0.1:0")
SPEECH = encode_s16(tone([0, 5, 9, 0, 7, 0], frames_each=4))
LONG = encode_s16(tone([0, 5, 9, 0, 7] * 40, frames_each=4))


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[WyomingServer]:
    async with WyomingServer(CONFIG, engine) as server:
        yield server


def text(messages: list[Event]) -> str:
    assert messages[-1].type == "transcript-stop"
    told = "".join(message.data["text"] for message in messages if message.type == "transcript-chunk")
    assert messages[-2].type == "transcript"
    assert told == messages[-2].data["text"]
    return told


async def test_what_is_said_comes_back_however_the_audio_is_cut(
    server: WyomingServer, engine: Engine
) -> None:
    words = await heard(engine, SPEECH, FORMAT)
    assert len(words.split()) == 3
    async with await Client.to(server.addresses[0]) as client:
        for step in (320, 4_096, 333, len(SPEECH)):
            await client.send(START, audio(SPEECH, step), STOP)
            assert text(await client.until("transcript-stop")) == words


async def test_silence_gives_an_empty_transcript(server: WyomingServer) -> None:
    async with await Client.to(server.addresses[0]) as client:
        await client.send(START, audio(bytes(32_000)), STOP)
        assert text(await client.until("transcript-stop")) == ""


async def test_long_speech_is_told_as_it_comes(server: WyomingServer, engine: Engine) -> None:
    words = await heard(engine, LONG, FORMAT)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(START, audio(LONG, 4_096))
        early = await client.until("transcript-chunk")
        await client.send(STOP)
        assert text(early + await client.until("transcript-stop")) == words


async def test_live_words_are_told_while_speech_goes_on(engine: Engine) -> None:
    config = WyomingConfig(uri=CONFIG.uri, live_words=True)
    speech = encode_s16(tone([0, 5, 9, 7] * 30, frames_each=6))
    async with WyomingServer(config, engine) as server, await Client.to(server.addresses[0]) as client:
        await client.send(START)
        early = asyncio.create_task(client.until("transcript-chunk"))
        for start in range(0, len(speech), 20_000):
            await client.send(audio(speech[start : start + 20_000]))
            # As a microphone would; a machine that is slower than this gets more to look at.
            await asyncio.wait({early}, timeout=0.05)
            if early.done():
                break
        messages = await early
        await client.send(STOP)
        assert text(messages + await client.until("transcript-stop")).startswith(messages[-1].data["text"])


async def test_describe_is_answered_while_the_recognizer_is_held_up(
    server: WyomingServer, engine: Engine, recognizer: FakeRecognizer
) -> None:
    words = await heard(engine, SPEECH, FORMAT)
    recognizer.started.clear()
    recognizer.gate.clear()
    async with (
        await Client.to(server.addresses[0]) as client,
        await Client.to(server.addresses[0]) as other,
    ):
        await client.send(START, audio(SPEECH), STOP)
        await asyncio.to_thread(recognizer.started.wait)
        for asking in (other, client):
            await asking.send(Describe())
            assert [message.type for message in await asking.until("info")] == ["info"]
        recognizer.gate.set()
        assert text(await client.until("transcript-stop")) == words


async def test_slots_are_counted_and_freed(
    server: WyomingServer, engine: Engine, recognizer: FakeRecognizer
) -> None:
    words = await heard(engine, SPEECH, FORMAT)
    recognizer.gate.clear()
    uri = server.addresses[0]
    async with await Client.to(uri) as one, await Client.to(uri) as two, await Client.to(uri) as three:
        for client in (one, two):
            await client.send(START, audio(SPEECH), STOP, Describe())
            await client.until("info")
        await three.send(START, audio(SPEECH), STOP, Describe())
        busy, info = await three.until("info")
        assert (busy.data["code"], info.type) == ("busy", "info")
        assert engine.sessions == 2
        recognizer.gate.set()
        for client in (one, two):
            assert text(await client.until("transcript-stop")) == words
        assert engine.sessions == 0
        await three.send(START, audio(SPEECH), STOP)
        assert text(await three.until("transcript-stop")) == words


async def test_a_client_that_vanishes_frees_its_slot_while_its_decode_is_held_up(
    engine: Engine, recognizer: FakeRecognizer
) -> None:
    recognizer.gate.clear()
    config = WyomingConfig(uri=CONFIG.uri, live_words=True)
    async with WyomingServer(config, engine) as server:
        client = await Client.to(server.addresses[0])
        await client.send(START, audio(SPEECH))
        await asyncio.to_thread(recognizer.started.wait)
        assert engine.sessions == 1
        client.abort()
        await asyncio.wait(set(server._connections))
        assert engine.sessions == 0
        recognizer.gate.set()


async def test_a_failing_model_is_told_and_the_next_utterance_is_heard(
    server: WyomingServer, engine: Engine, recognizer: FakeRecognizer, caplog: pytest.LogCaptureFixture
) -> None:
    words = await heard(engine, SPEECH, FORMAT)
    async with await Client.to(server.addresses[0]) as client:
        recognizer.fail = True
        await client.send(START, audio(SPEECH), STOP)
        [error] = await client.until("error")
        assert error.data["code"] == "inference"
        recognizer.fail = False
        await client.send(START, audio(SPEECH), STOP)
        assert text(await client.until("transcript-stop")) == words
    assert not any(record.exc_info for record in caplog.records)


async def test_a_broken_riff_header_is_bad_audio(
    server: WyomingServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    words = await heard(engine, SPEECH, FORMAT)
    riff = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x63\x00" + bytes(50)
    async with await Client.to(server.addresses[0]) as client:
        await client.send(START, audio(riff), STOP, Describe())
        # The error and the answer to `describe` may cross.
        messages = [await client.read(), await client.read()]
        assert sorted(message.type for message in messages if message) == ["error", "info"]
        await client.send(START, audio(SPEECH), STOP)
        assert text(await client.until("transcript-stop")) == words
    assert engine.sessions == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_the_longest_session_is_answered_before_the_client_stops(recognizer: FakeRecognizer) -> None:
    async with (
        fake_engine(recognizer, EngineConfig(max_session_s=1.0)) as engine,
        WyomingServer(CONFIG, engine) as server,
        await Client.to(server.addresses[0]) as client,
    ):
        words = await heard(engine, SPEECH[:32_000], FORMAT)
        await client.send(START, audio(SPEECH * 3, 4_000))
        assert text(await client.until("transcript-stop")) == words
        await client.send(audio(SPEECH), STOP, START, audio(SPEECH[:32_000]), STOP)
        assert text(await client.until("transcript-stop")) == words


async def test_clients_that_come_and_go_leave_no_session_behind(
    server: WyomingServer, engine: Engine
) -> None:
    tasks = asyncio.all_tasks()
    for number in range(40):
        client = await Client.to(server.addresses[0])
        client.writer.write(START + audio(SPEECH) + (STOP if number % 2 else b""))
        client.abort()
    last = await Client.to(server.addresses[0])
    await last.send(Describe())
    await last.until("info")
    last.abort()
    await asyncio.wait(set(server._connections))
    assert engine.sessions == 0
    assert asyncio.all_tasks() == tasks
