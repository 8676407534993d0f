"""What eaRS's real clients do, message by message, and what they rely on."""

import asyncio
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect

from tests.servers.ears_rig import (
    PATIENCE_S,
    FakeEngine,
    ask,
    command,
    everything,
    kinds,
    receive,
    rig,
    speech,
    texts,
    until,
)

SAID = (1, 2, 0, 3, 4, 5)


def frames(audio: bytes, samples: int) -> Iterator[bytes]:
    for start in range(0, len(audio), samples * 4):
        yield audio[start : start + samples * 4]


@pytest.mark.parametrize("lang", [None, "en", "de"])
async def test_ears_at_the_microphone(lang: str | None) -> None:
    async with rig() as it, it.connect() as client:
        if lang is not None:
            await client.send(command("setlanguage", lang=lang))
        for frame in frames(speech(*SAID), 557):
            await client.send(frame)
        live = await until(client, "segment")
        await client.send('{"type":"stop"}')
        rest = await everything(client)
    shown = [m["word"] for m in live + rest if m["type"] == "word" and m["end_time"] is None]
    assert shown == ["1", "2", "3", "4", "5"], "it prints a live word only if end_time is null"
    assert rest[-1]["text"] == "1 2 3 4 5"
    assert client.close_code == 1000


async def test_ears_with_a_file_all_at_once() -> None:
    async with rig(FakeEngine(slots=1)) as it, it.connect() as client:
        await client.send(command("setlanguage", lang="en"))
        for frame in frames(speech(*range(1, 100)), 1920):
            await client.send(frame)
        await client.send('{"type":"stop"}')
        messages = await everything(client)
        assert messages[-1]["text"] == " ".join(map(str, range(1, 100)))
        assert texts(messages) == [str(n) for n in range(1, 100)]
        await it.all_freed()


async def test_dictation_pauses_by_sending_nothing_and_leaves_by_dying() -> None:
    async with rig(stall_flush_s=0.02) as it:
        client = await it.connect()
        await client.send(command("setlanguage", lang="en"))
        await client.send(command("setengine", engine="parakeet"))
        for frame in frames(speech(1, 2), 480):
            await client.send(frame)
        before = await until(client, "segment")
        for frame in frames(speech(3), 480):
            await client.send(frame)
        after = await until(client, "segment")
        assert texts(before + after) == ["1", "2", "3"], "append-only"
        assert "final" not in kinds(before + after), "it would type the words a second time"
        client.transport.abort()
        await it.all_freed()
        assert it.server._registry.stream_ids() == []


async def test_simple_gui_restarts_and_keeps_its_socket() -> None:
    async with rig() as it, it.connect(origin="http://localhost:5173") as client:
        assert (await ask(client, command("setengine", engine="kyutai")))["type"] == "enginechanged"
        assert (await receive(client))["message"] == "engine not available"
        for frame in frames(speech(1, 2), 2048):
            await client.send(frame)
        await client.send(command("restart"))
        old = await until(client, "enginechanged")
        assert old[-2]["type"] == "final"
        assert texts(old) == ["1", "2"]
        for frame in frames(speech(7, 8), 2229):
            await client.send(frame)
        await client.send(command("setengine", engine="parakeet"))
        assert texts(await until(client, "enginechanged"))[:1] == ["7"]
        await client.close()
        await it.all_freed()


async def test_subs_asks_for_an_engine_first_and_listens_then() -> None:
    token = "made-up"  # noqa: S105  # it says so
    async with rig(enable_listener_mode=True, listener_tokens=(token,)) as it:
        async with it.connect() as speaker, it.connect(origin="http://tauri.localhost") as subs:
            await ask(speaker, command("restart"))
            await subs.send(command("setengine", engine="kyutai"))
            await subs.send(command("authenticate", token=token))
            assert kinds(await until(subs, "authenticated")) == ["enginechanged", "error", "authenticated"]
            streams = await ask(subs, command("liststreams"))
            first = streams["stream_ids"][0]
            assert await ask(subs, command("subscribe", stream_id=first)) == {
                "type": "subscribed",
                "stream_id": first,
            }
            await speaker.send(speech(1, 2))
            await speaker.send("stop")
            shown = await until(subs, "final")
            assert texts(shown) == ["1", "2"]
            assert shown[-1]["text"] == "1 2"
        await it.all_freed()


async def test_the_html_page_stops_and_closes_at_once() -> None:
    async with rig(FakeEngine(slots=1)) as it:
        async with it.connect(origin="null") as client:
            for frame in frames(speech(1, 2, 3), 4096):
                await client.send(frame)
            live = await until(client, "word")
            assert isinstance(live[-1]["start_time"], float)
            await client.send("stop")
        await it.all_freed()
        await it.works()


async def test_the_html_page_sees_busy() -> None:
    async with rig(FakeEngine(slots=0)) as it, it.connect(origin="null") as client:
        assert (await ask(client, speech(1)))["message"].startswith("server busy")


async def test_a_documented_listener_takes_the_first_reply_for_its_authentication() -> None:
    authenticate = command("authenticate", token="made-up")  # noqa: S106  # it says so
    async with (
        rig(enable_listener_mode=True, listener_tokens=("made-up",)) as it,
        connect(it.url) as listener,  # with the library's defaults, compression offered
    ):
        assert (await ask(listener, authenticate))["type"] == "authenticated"
        assert (await ask(listener, command("liststreams")))["type"] == "streams"
        assert listener.response is not None
        assert "Sec-WebSocket-Extensions" not in listener.response.headers


async def test_a_client_that_pings_is_answered_while_it_waits() -> None:
    async with rig() as it, it.connect() as client:
        it.engine.last_decode.clear()
        await client.send(speech(1))
        await client.send("stop")
        await until(client, "language_detected")
        async with asyncio.timeout(PATIENCE_S):
            await (await client.ping())
        it.engine.last_decode.set()
        assert (await everything(client))[-1]["text"] == "1"
