"""The eaRS server and the real engine together; only the recognizer is a fake."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from ears_edge.audio.resample import Resampler
from ears_edge.config import EarsConfig, EngineConfig
from ears_edge.engine.scheduler import Engine
from ears_edge.servers.ears import EarsServer
from ears_edge.wire import ears
from tests.fakes import FakeRecognizer, fake_engine, tone
from tests.servers.ears_rig import PATIENCE_S, command, connect_to, everything, kinds, receive, texts, until
from tests.servers.unserved import heard

CONFIG = EarsConfig(host="127.0.0.1", port=0)


def at_24k(levels: list[int]) -> bytes:
    resampler = Resampler(16_000, 24_000)
    samples = np.concatenate((resampler.feed(tone(levels, frames_each=4)), resampler.flush()))
    return samples.astype("<f4").tobytes()


SPEECH = at_24k([0, 5, 9, 0, 7, 0])
LONG = at_24k([0, 5, 9, 0, 7] * 40)


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[EarsServer]:
    async with EarsServer(CONFIG, engine) as server:
        yield server


def url(server: EarsServer) -> str:
    return f"ws://127.0.0.1:{server.addresses[0][1]}/"


@pytest.mark.parametrize("step", [1_000, 7_680, 16_384, 10_000_000])
@pytest.mark.parametrize("audio", [SPEECH, LONG], ids=["short", "long"])
async def test_what_is_said_comes_back(server: EarsServer, engine: Engine, audio: bytes, step: int) -> None:
    async with connect_to(url(server)) as client:
        for start in range(0, len(audio), step):
            await client.send(audio[start : start + step])
        await client.send("stop")
        messages = await everything(client)
    final = messages[-1]
    assert [word["word"] for word in final["words"]] == texts(messages) == final["text"].split()
    assert " ".join(m["text"] for m in messages if m["type"] == "segment") == final["text"]
    if audio is SPEECH:
        # The fake hears a long tone that live words cut in two as two words; a short one is decoded whole.
        assert final["text"] == await heard(engine, audio, ears.AUDIO)
    assert len(texts(messages)) >= 3
    assert engine.sessions == 0


async def test_a_stall_brings_the_words_and_the_session_goes_on(engine: Engine) -> None:
    async with (
        EarsServer(replace(CONFIG, stall_flush_s=0.02), engine) as server,
        connect_to(url(server)) as client,
    ):
        await client.send(SPEECH)
        first = await until(client, "segment")
        await client.send(SPEECH)
        await client.send("stop")
        rest = await everything(client)
    assert texts(first)
    assert rest[-1]["text"].split() == texts(first + rest)


async def test_restart_begins_anew(server: EarsServer, engine: Engine) -> None:
    expected = await heard(engine, SPEECH, ears.AUDIO)
    async with connect_to(url(server)) as client:
        for _ in range(3):
            await client.send(SPEECH)
            await client.send(command("restart"))
        await client.send("stop")
        messages = await everything(client)
    assert [m["text"] for m in messages if m["type"] == "final"] == [expected] * 3 + [""]


async def test_a_failing_decode_ends_its_own_session_only(
    server: EarsServer, engine: Engine, recognizer: FakeRecognizer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recognizer.fail = True
    async with connect_to(url(server)) as client:
        await client.send(SPEECH)
        await client.send("stop")
        assert (await everything(client))[-1] == {
            "type": "error",
            "message": "internal server error",
            "code": "inference",
        }
        assert client.close_code == 1011
    recognizer.fail = False
    async with connect_to(url(server)) as client:
        await client.send(SPEECH)
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == await heard(engine, SPEECH, ears.AUDIO)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info for record in errors] == [None]


async def test_the_engines_limit_ends_the_session_with_its_final(recognizer: FakeRecognizer) -> None:
    async with (
        fake_engine(recognizer, EngineConfig(max_session_s=1.0)) as engine,
        EarsServer(CONFIG, engine) as server,
        connect_to(url(server)) as client,
    ):
        await client.send(LONG)
        messages = await everything(client)
        assert kinds(messages)[-1] == "final"
        assert (client.close_code, client.close_reason) == (1000, "the session is as long as one may be")
        assert engine.sessions == 0


async def test_busy_then_free(server: EarsServer, engine: Engine) -> None:
    async with connect_to(url(server)) as one, connect_to(url(server)) as two:
        for client in (one, two):
            await client.send(SPEECH)
            await receive(client)
        async with connect_to(url(server)) as three:
            await three.send(SPEECH)
            assert kinds(await everything(three)) == ["error"]
            assert three.close_code == 1013
        one.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while engine.sessions > 1:  # noqa: ASYNC110  # the engine tells nobody
                await asyncio.sleep(0)
        async with connect_to(url(server)) as three:
            await three.send(SPEECH)
            await three.send("stop")
            assert kinds(await everything(three))[-1] == "final"


async def test_a_client_that_goes_while_its_last_decode_runs(
    server: EarsServer, engine: Engine, recognizer: FakeRecognizer
) -> None:
    recognizer.gate.clear()
    async with connect_to(url(server)) as client:
        await client.send(SPEECH)
        await client.send("stop")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(recognizer.started.wait)
        client.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while engine.sessions:  # noqa: ASYNC110  # the engine tells nobody
                await asyncio.sleep(0)
    recognizer.gate.set()


async def test_shutting_down_sends_the_final(server: EarsServer, engine: Engine) -> None:
    expected = await heard(engine, SPEECH, ears.AUDIO)
    async with connect_to(url(server)) as client:
        await client.send(SPEECH)
        await receive(client)
        async with asyncio.timeout(PATIENCE_S):
            await until(client, "segment")
        await server.close(PATIENCE_S)
        assert (await everything(client))[-1]["text"] == expected
        assert client.close_code == 1001
