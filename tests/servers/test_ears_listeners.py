import asyncio
import logging
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from ears_edge.servers.listeners import MAX_QUEUED_CHARS, Outbox, StreamRegistry
from tests.servers.ears_rig import (
    PATIENCE_S,
    FakeEngine,
    Rig,
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

TOKEN = "tok-öπ-1234567890"  # noqa: S105  # made up


def show(token: str) -> str:
    return command("authenticate", token=token)


LISTENING: dict[str, Any] = {"enable_listener_mode": True, "listener_tokens": ("another", TOKEN)}
AUTHENTICATE = show(TOKEN)
AUTHENTICATED = {"type": "authenticated", "success": True}
NOT_AUTHENTICATED = {"type": "error", "message": "not authenticated", "code": "not-authenticated"}
INVALID_TOKEN = {"type": "error", "message": "invalid token", "code": "invalid-token"}


async def test_a_listener_gets_what_the_client_gets_but_for_errors() -> None:
    async with rig(**LISTENING) as it, it.connect() as client, it.connect() as listener:
        first = [await ask(client, command("getstatus")), await receive(client)]
        assert kinds(first) == ["enginechanged", "status"]
        assert await ask(listener, AUTHENTICATE) == AUTHENTICATED
        assert await ask(listener, command("liststreams")) == {"type": "streams", "stream_ids": [1]}
        assert await ask(listener, command("subscribe", stream_id=1)) == {
            "type": "subscribed",
            "stream_id": 1,
        }
        await client.send(command("setengine", engine="kyutai"))
        await client.send(command("setlanguage", lang="en"))
        await client.send(command("getstatus"))
        await client.send(speech(1, 0, 2))
        await client.send(command("restart"))
        await client.send(speech(3))
        await client.send("stop")
        sent = await everything(client)
        assert {"word", "segment", "final", "enginechanged", "languagechanged", "language_detected"} < set(
            kinds(sent)
        )
        assert {"status", "pause", "error"} < set(kinds(sent))
        expected = [message for message in sent if message["type"] != "error"]
        assert [await receive(listener) for _ in expected] == expected
        assert await ask(listener, command("liststreams")) == {"type": "streams", "stream_ids": []}


async def test_authentication_is_remembered_also_if_shown_late() -> None:
    async with rig(**LISTENING) as it, it.connect() as listener:
        assert await ask(listener, command("liststreams")) == NOT_AUTHENTICATED
        assert await ask(listener, command("subscribe", stream_id=1)) == NOT_AUTHENTICATED
        assert await ask(listener, show("no")) == INVALID_TOKEN
        assert await ask(listener, AUTHENTICATE) == AUTHENTICATED
        assert await ask(listener, show("no")) == INVALID_TOKEN
        assert (await ask(listener, command("liststreams")))["type"] == "streams"


async def test_wrong_tokens_are_limited_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with rig(**LISTENING, max_authentication_failures=3) as it, it.connect() as listener:
        assert await ask(listener, AUTHENTICATE) == AUTHENTICATED
        for _ in range(3):
            assert await ask(listener, show("wrong-guess")) == INVALID_TOKEN
        with pytest.raises(ConnectionClosed):
            await receive(listener)
        assert (listener.close_code, listener.close_reason) == (1008, "too many wrong tokens")
        await it.works()
    served = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets.client")]
    assert any("wrong token" in message for message in served)
    assert not any(TOKEN in message or "wrong-guess" in message for message in served)


@pytest.mark.parametrize("first", [AUTHENTICATE, command("liststreams"), command("subscribe", stream_id=1)])
async def test_while_listener_mode_is_off_it_says_so(first: str) -> None:
    async with rig(listener_tokens=(TOKEN,)) as it, it.connect() as listener:
        assert await ask(listener, first) == {
            "type": "error",
            "message": "listener mode is off; set ears.enable_listener_mode = true",
            "code": "listener-mode-off",
        }
        with pytest.raises(ConnectionClosed):
            await receive(listener)
        assert listener.close_code == 1008


async def test_without_tokens_nobody_gets_in() -> None:
    async with rig(enable_listener_mode=True) as it, it.connect() as listener:
        assert await ask(listener, show("")) == INVALID_TOKEN


async def test_subscribing_twice_does_not_double() -> None:
    async with rig(**LISTENING) as it, it.connect() as client, it.connect() as listener:
        await ask(client, command("restart"))
        await ask(listener, AUTHENTICATE)
        for _ in range(2):
            await ask(listener, command("subscribe", stream_id=1))
        await client.send(speech(1))
        await client.send("stop")
        assert texts(await until(listener, "final")) == ["1"]


async def test_several_streams_one_listener() -> None:
    async with rig(**LISTENING) as it, it.connect() as listener, it.connect() as one, it.connect() as two:
        await ask(one, command("restart"))
        await ask(two, command("restart"))
        await ask(listener, AUTHENTICATE)
        assert (await ask(listener, command("liststreams")))["stream_ids"] == [1, 2]
        await ask(listener, command("subscribe", stream_id=2))
        await ask(listener, command("subscribe", stream_id=1))
        await one.send(speech(1))
        await one.send("stop")
        assert (await until(listener, "final"))[-1]["text"] == "1"
        await two.send(speech(2))
        await two.send("stop")
        assert (await until(listener, "final"))[-1]["text"] == "2"


@pytest.mark.parametrize("stream_id", [0, 2, 2**63 - 1])
async def test_a_stream_that_is_not_there(stream_id: int) -> None:
    async with rig(**LISTENING) as it, it.connect() as client, it.connect() as listener:
        await ask(client, command("restart"))
        await ask(listener, AUTHENTICATE)
        assert await ask(listener, command("subscribe", stream_id=stream_id)) == {
            "type": "error",
            "message": f"subscription failed: Stream {stream_id} not found",
            "code": "stream-not-found",
        }


async def test_a_stream_has_a_limit_of_listeners() -> None:
    async with rig(**LISTENING, max_listeners_per_stream=1) as it, it.connect() as client:
        await ask(client, command("restart"))
        async with it.connect() as one, it.connect() as two:
            await ask(one, AUTHENTICATE)
            await ask(two, AUTHENTICATE)
            assert (await ask(one, command("subscribe", stream_id=1)))["type"] == "subscribed"
            assert (await ask(one, command("subscribe", stream_id=1)))["type"] == "subscribed"
            refused = await ask(two, command("subscribe", stream_id=1))
            assert refused["code"] == "busy"
            assert refused["message"].startswith("subscription failed: Stream 1 has 1 listeners")
            await one.close()
            async with asyncio.timeout(PATIENCE_S):
                while it.server._registry.is_heard(1):  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0)
            assert (await ask(two, command("subscribe", stream_id=1)))["type"] == "subscribed"


async def test_speaking_to_a_listening_connection_is_refused() -> None:
    async with rig(**LISTENING) as it, it.connect() as listener:
        await ask(listener, AUTHENTICATE)
        for message in ("stop", speech(1), command("getstatus")):
            assert (await ask(listener, message))["code"] == "wrong-role"
        assert (await ask(listener, "hello"))["code"] == "bad-message"
        assert (await ask(listener, command("liststreams")))["type"] == "streams"
        assert it.engine.streams == []


async def test_bad_messages_of_a_listener_are_limited() -> None:
    async with rig(**LISTENING) as it, it.connect() as listener:
        await ask(listener, AUTHENTICATE)
        for _ in range(100):
            await listener.send("?")
        answers = await everything(listener)
        assert [answer["code"] for answer in answers] == ["bad-message"] * 100
        assert (listener.close_code, listener.close_reason) == (1008, "100 bad messages")


async def test_an_active_connection_without_audio_may_turn_listener() -> None:
    async with rig(**LISTENING) as it, it.connect() as listener:
        await listener.send(command("setengine", engine="kyutai"))
        await listener.send(AUTHENTICATE)
        await listener.send(command("liststreams"))
        messages = [await receive(listener) for _ in range(4)]
    assert kinds(messages) == ["enginechanged", "error", "authenticated", "streams"]
    assert messages[-1]["stream_ids"] == [], "the provisional stream is gone"


@pytest.mark.parametrize("message", [AUTHENTICATE, command("liststreams"), command("subscribe", stream_id=1)])
async def test_after_audio_it_may_not(message: str) -> None:
    async with rig(**LISTENING) as it, it.connect() as client:
        await client.send(speech(1))
        await client.send(message)
        await client.send("stop")
        messages = await everything(client)
    assert messages[-1]["text"] == "1"
    assert [m["code"] for m in messages if m["type"] == "error"] == ["wrong-role"]


async def test_listeners_get_the_final_of_a_client_that_closed() -> None:
    async with rig(**LISTENING) as it, it.connect() as client, it.connect() as listener:
        await ask(client, command("restart"))
        await ask(listener, AUTHENTICATE)
        await ask(listener, command("subscribe", stream_id=1))
        await client.send(speech(1, 2))
        await client.close()
        assert (await until(listener, "final"))[-1]["text"] == "1 2"
        async with asyncio.timeout(PATIENCE_S):
            await it.engine.streams[0].closed.wait()
        assert it.engine.sessions == 0


async def test_shutting_down_listeners_get_the_finals_first() -> None:
    async with rig(**LISTENING) as it, it.connect() as client, it.connect() as listener:
        await ask(client, command("restart"))
        await ask(listener, AUTHENTICATE)
        await ask(listener, command("subscribe", stream_id=1))
        await client.send(speech(7))
        await until(client, "language_detected")
        await it.server.close(grace_s=PATIENCE_S)
        assert (await everything(listener))[-1]["text"] == "7"
        assert listener.close_code == 1001


async def test_a_listener_that_does_not_read_is_dropped_and_the_stream_flows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    engine = FakeEngine()
    engine.word_tail = "x" * 100_000  # so that the system's buffers are full soon
    async with rig(engine, **LISTENING) as it, it.connect() as client:
        await ask(client, command("restart"))
        reader, writer = await raw_listener(it)
        for _ in range(4):
            await client.send(speech(*[1] * 50))
        await client.send("stop")
        heard = await everything_of_any_size(client)
        assert heard == 200
        assert it.server.counters.slow_listeners == 1
        writer.transport.abort()
        del reader
        await it.all_freed()
        engine.word_tail = ""
        await it.works()
    assert [r.getMessage() for r in caplog.records if "too slowly" in r.getMessage()]


async def raw_listener(it: Rig) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A listener of stream 1 that reads nothing after it has subscribed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port, limit=1024)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    for text in (AUTHENTICATE.encode(), command("subscribe", stream_id=1).encode()):
        writer.write(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
        await reader.readuntil(b"}")
    return reader, writer


async def everything_of_any_size(client: Any) -> int:  # noqa: ANN401  # websockets' connection
    words = 0
    async with asyncio.timeout(PATIENCE_S):
        try:
            async for message in client:
                words += message.startswith('{"type":"word"')
        except ConnectionClosed:
            pass  # the final is too long for this client's own limit
    return words


async def test_an_outbox_is_bounded_but_takes_one_long_message() -> None:
    full: list[bool] = []
    outbox = Outbox(lambda: full.append(True))
    outbox.put("x" * (MAX_QUEUED_CHARS + 1))
    assert await outbox.get() == "x" * (MAX_QUEUED_CHARS + 1)
    outbox.put("a" * MAX_QUEUED_CHARS)
    assert not full
    outbox.put("b")
    outbox.put("c")
    assert full == [True]
    assert await outbox.get() is None


async def test_an_outbox_gives_what_it_holds_after_it_was_closed() -> None:
    outbox = Outbox(lambda: None)
    outbox.put("a")
    outbox.close()
    outbox.put("b")
    assert [await outbox.get(), await outbox.get()] == ["a", None]


async def test_an_outbox_waits_for_the_next_message() -> None:
    outbox = Outbox(lambda: None)
    getting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.put("a")
    assert await getting == "a"


async def test_stream_ids_count_from_one_and_never_come_back() -> None:
    registry = StreamRegistry(max_listeners=1)
    assert [registry.add(), registry.add()] == [1, 2]
    registry.remove(2)
    registry.remove(2)
    assert registry.add() == 3
    assert registry.stream_ids() == [1, 3]
    registry.publish(9, "nobody")
    assert not registry.is_heard(1)
