"""Each malformed input, what it is answered with, and that it costs nobody else."""

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.messages import MAX_FRAGMENTS
from websockets.exceptions import InvalidStatus

from tests.servers.ears_raw import BINARY, CLOSE, CONT, FIN, HANDSHAKE, PING, TEXT, UPGRADE, frame, raw_client
from tests.servers.ears_rig import ask, command, everything, receive, rig, speech

LIMIT = 12_000


@pytest.fixture(autouse=True)
def nothing_is_logged_above_info(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    loud = [r for r in caplog.records if r.levelno > logging.INFO or r.exc_info]
    assert not [r.getMessage() for r in loud if not r.name.startswith("websockets.client")]


def bad(problem: str, code: str = "bad-message") -> dict[str, Any]:
    return {"type": "error", "message": f"bad-message: {problem}", "code": code}


NOT_JSON = bad("not a JSON object")
NO_TYPE = bad("no member 'type' that is a string")
SPEAKS = bad("this connection speaks; listen on another one", "wrong-role")


@pytest.mark.parametrize("after_audio", [False, True])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", NOT_JSON),
        (" ", NOT_JSON),
        ("hello there", NOT_JSON),
        ("stop!", NOT_JSON),
        ("null", NOT_JSON),
        ("1", NOT_JSON),
        ('"pause"', NOT_JSON),
        ('["stop"]', NOT_JSON),
        ("{", NOT_JSON),
        ('{"type":"stop"', NOT_JSON),
        ("{'type':'stop'}", NOT_JSON),
        ('{"type":"getstatus"}{"type":"stop"}', NOT_JSON),
        ("\x00", NOT_JSON),
        ("{" * 3_000, NOT_JSON),
        ('{"type":' + "9" * 3_000 + "}", NO_TYPE),
        ("{}", NO_TYPE),
        ('{"typ":"stop"}', NO_TYPE),
        ('{"type":null}', NO_TYPE),
        ('{"type":["stop"]}', NO_TYPE),
        ('{"Word":{"word":"x"}}', NO_TYPE),
        ('{"type":"GETSTATUS"}', bad("unknown type 'GETSTATUS'", "unknown-type")),
        ('{"type":"word","word":"x"}', bad("unknown type 'word'", "unknown-type")),
        ('{"type":""}', bad("unknown type ''", "unknown-type")),
        ('{"type":"a\\nb"}', bad("unknown type 'a\\nb'", "unknown-type")),
        ('{"type":"setlanguage"}', bad("setlanguage: Object missing required field `lang`")),
        (
            '{"type":"setlanguage","lang":["en"]}',
            bad("setlanguage: Expected `str`, got `array` - at `$.lang`"),
        ),
        (
            '{"type":"setengine","engine":null}',
            bad("setengine: Expected `str`, got `null` - at `$.engine`"),
        ),
        (
            '{"type":"setvadtimeout","seconds":"2"}',
            bad("setvadtimeout: Expected `float`, got `str` - at `$.seconds`"),
        ),
        ('{"type":"setvadtimeout"}', bad("setvadtimeout: Object missing required field `seconds`")),
        ('{"type":"authenticate"}', bad("authenticate: Object missing required field `token`")),
        (
            '{"type":"subscribe","stream_id":"1"}',
            bad("subscribe: Expected `int`, got `str` - at `$.stream_id`"),
        ),
        (
            '{"type":"subscribe","stream_id":-1}',
            bad("subscribe: Expected `int` >= 0 - at `$.stream_id`"),
        ),
    ],
)
async def test_a_text_that_cannot_be_obeyed(text: str, answer: dict[str, Any], *, after_audio: bool) -> None:
    async with rig(max_message_bytes=LIMIT) as it, it.connect() as client:
        if after_audio:
            await client.send(speech(1)[:400])
            assert (await receive(client))["type"] == "enginechanged"
            assert await ask(client, text) == answer
        else:
            assert (await ask(client, text))["type"] == "enginechanged"
            assert await receive(client) == answer
        assert (await ask(client, command("getstatus")))["type"] == "status"
        assert it.server.counters.bad_messages == 1
        await client.close()
        await it.all_freed()


async def test_listening_after_audio_is_refused() -> None:
    async with rig() as it, it.connect() as client:
        await ask(client, speech(1)[:400])
        for message in (command("liststreams"), command("subscribe", stream_id=1)):
            assert await ask(client, message) == SPEAKS


async def test_the_hundredth_bad_message_is_the_last() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1)[:400])
        for _ in range(150):
            await client.send("?")
        answers = await everything(client)
        assert answers == [{"type": "enginechanged", "engine": "parakeet"}] + [NOT_JSON] * 100
        assert (client.close_code, client.close_reason) == (1008, "100 bad messages")
        await it.all_freed()
        await it.works()


@pytest.mark.parametrize("first", [None, frame(FIN | BINARY, bytes(400))], ids=["undecided", "active"])
@pytest.mark.parametrize(
    ("data", "close_code"),
    [
        pytest.param(frame(FIN | TEXT, b"stop", masked=False), 1002, id="unmasked"),
        pytest.param(frame(FIN | 0x3, b"x"), 1002, id="reserved opcode"),
        pytest.param(frame(FIN | 0xB, b"x"), 1002, id="reserved control opcode"),
        pytest.param(frame(FIN | 0x40 | TEXT, b"stop"), 1002, id="compressed without leave"),
        pytest.param(frame(FIN | 0x20 | TEXT, b"stop"), 1002, id="second reserved bit"),
        pytest.param(frame(FIN | 0x10 | BINARY, b"stop"), 1002, id="third reserved bit"),
        pytest.param(frame(PING, b"x"), 1002, id="fragmented ping"),
        pytest.param(frame(FIN | PING, bytes(126)), 1002, id="long ping"),
        pytest.param(frame(FIN | CONT, b"x"), 1002, id="continues nothing"),
        pytest.param(frame(TEXT, b"st") + frame(FIN | TEXT, b"op"), 1002, id="interrupted message"),
        pytest.param(frame(FIN | TEXT, b"\xff\xfe"), 1007, id="not UTF-8"),
        pytest.param(frame(FIN | TEXT, b"\xed\xa0\x80"), 1007, id="surrogate in UTF-8"),
        pytest.param(frame(TEXT, b"\xc3") + frame(FIN | CONT, b"("), 1007, id="not UTF-8 over two fragments"),
        pytest.param(frame(FIN | BINARY, bytes(LIMIT + 1)), 1009, id="long message"),
        pytest.param(frame(FIN | TEXT, b"x", length=2**40), 1009, id="claims a terabyte"),
        pytest.param(frame(FIN | BINARY, b"x", length=2**64 - 1), 1009, id="claims all there is"),
        pytest.param(frame(BINARY, bytes(LIMIT)) + frame(FIN | CONT, bytes(1)), 1009, id="long in fragments"),
        pytest.param(frame(FIN | CLOSE, b"x"), 1002, id="half a close code"),
        pytest.param(frame(FIN | CLOSE, b"\x03\xed"), 1002, id="close code 1005"),
        pytest.param(frame(FIN | CLOSE, b"\x00\x00"), 1002, id="close code 0"),
        pytest.param(frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007, id="close reason not UTF-8"),
        pytest.param(frame(TEXT, b"st") + frame(FIN | CLOSE, b"\x03\xe8"), 1002, id="close inside a message"),
    ],
)
async def test_a_broken_frame(data: bytes, close_code: int, first: bytes | None) -> None:
    async with rig(max_message_bytes=LIMIT) as it:
        async with raw_client(it.port) as client:
            await client.upgrade()
            await client.send((first or b"") + data)
            assert await client.close_code() == close_code
        await it.all_freed()
        await it.works()


async def test_a_flood_of_empty_fragments() -> None:
    async with rig() as it:
        async with raw_client(it.port) as client:
            await client.upgrade()
            # No more than it takes: while others wait behind it, websockets does not see that we hang up.
            await client.send(frame(BINARY) + frame(CONT) * MAX_FRAGMENTS)
            assert await client.close_code() == 1009
        await it.all_freed()
        await it.works()


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        pytest.param(b"\r\n\r\n", b"", id="blank"),
        pytest.param(b"hello\r\n", b"", id="not HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\n", b"", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", id="HTTP/2"),
        pytest.param(b"GET /\xff HTTP/1.1\r\n\r\n", b"", id="path not ASCII"),
        pytest.param(b'{"type":"describe"}\n', b"", id="Wyoming"),
        pytest.param(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"", id="chunked body"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"", id="a body"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"", id="broken header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 426 ", id="plain HTTP"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 505 ", id="HTTP/1.0"),
        pytest.param(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 405 ", id="HEAD"),
        pytest.param(HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Other"), b"HTTP/1.1 400 ", id="no key"),
        pytest.param(HANDSHAKE.replace(b"AAAA==", b"A"), b"HTTP/1.1 400 ", id="short key"),
        pytest.param(HANDSHAKE.replace(b"AAAA==", b"\xff\xff=="), b"HTTP/1.1 400 ", id="key not ASCII"),
        pytest.param(
            UPGRADE + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", b"HTTP/1.1 400 ", id="two keys"
        ),
        pytest.param(HANDSHAKE.replace(b": 13", b": 8"), b"HTTP/1.1 400 ", id="old version"),
        pytest.param(HANDSHAKE.replace(b": Upgrade", b": ,;"), b"HTTP/1.1 400 ", id="odd Connection"),
        pytest.param(HANDSHAKE.replace(b": websocket", b": h2c"), b"HTTP/1.1 426 ", id="another upgrade"),
        pytest.param(b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414 ", id="long path"),
        pytest.param(UPGRADE + b"X: " + b"a" * 9_000 + b"\r\n\r\n", b"HTTP/1.1 431 ", id="long header"),
        pytest.param(UPGRADE + b"X: a\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 ", id="many headers"),
        pytest.param(UPGRADE + b"Origin: http://evil.example\r\n\r\n", b"HTTP/1.1 403 ", id="web page"),
        pytest.param(
            UPGRADE + b"Origin: http://localhost\r\nOrigin: null\r\n\r\n", b"HTTP/1.1 403 ", id="two origins"
        ),
        pytest.param(UPGRADE + b"Origin: \xff\xfe\r\n\r\n", b"HTTP/1.1 403 ", id="origin not ASCII"),
    ],
)
async def test_a_broken_handshake(request_bytes: bytes, answer: bytes) -> None:
    async with rig() as it:
        async with raw_client(it.port) as client:
            await client.send(request_bytes)
            received = await client.rest()
            assert received.startswith(answer)
            assert bool(received) == bool(answer)
        await it.all_freed()
        await it.works()


@pytest.mark.parametrize("sent", [b"", b"GE", UPGRADE, HANDSHAKE, HANDSHAKE + frame(FIN | TEXT, b"sto")[:-1]])
async def test_a_port_probe_is_harmless(sent: bytes) -> None:
    async with rig() as it:
        async with raw_client(it.port) as client:
            await client.send(sent)
        await it.all_freed()
        await it.works()


async def test_a_slow_handshake_is_cut() -> None:
    async with rig(handshake_timeout_s=0.01) as it, raw_client(it.port) as client:
        await client.send(UPGRADE)
        assert await client.rest() == b""
        await it.all_freed()


async def test_one_connection_too_many() -> None:
    async with rig(max_connections=2) as it:
        async with it.connect() as one, it.connect():
            with pytest.raises(InvalidStatus) as refused:
                await it.connect()
            assert refused.value.response.status_code == 503
            assert await ask(one, command("restart"))
        await it.all_freed()
        await it.works()


async def test_a_message_as_long_as_one_may_be() -> None:
    async with rig(max_message_bytes=LIMIT) as it, it.connect() as client:
        await client.send(speech(1)[:LIMIT])
        assert (await receive(client))["type"] == "enginechanged"


async def test_a_welcome_page() -> None:
    async with rig() as it, it.connect(origin="tauri://localhost") as client:
        assert await ask(client, command("restart"))


async def test_noise_after_the_handshake_costs_nobody_else() -> None:
    """The frame reader is the library's; what counts is that nothing it does reaches anyone else."""
    noise = random.Random(5)  # noqa: S311  # repeatable, not secret
    async with rig() as it, it.connect() as other:
        await ask(other, speech(1)[:400])
        for turn in range(150):
            async with raw_client(it.port) as client:
                await client.upgrade()
                data = noise.randbytes(noise.randrange(1, 300))
                if turn % 2:  # half of it begins like a frame
                    data = (
                        bytes([FIN | noise.choice((TEXT, BINARY, CLOSE, PING)), 0x80 | data[0] & 0x3F]) + data
                    )
                await client.send(data)
                client.writer.write_eof()
                await client.rest()
        assert (await ask(other, command("getstatus")))["type"] == "status"
        await other.close()
        await it.all_freed()
        await it.works()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_message_at_all_is_answered_or_heard(text: str, audio: bytes) -> None:
    async def exchange() -> None:
        async with rig() as it, it.connect() as client:
            await client.send(text)
            await client.send(audio)
            await client.send("stop")
            messages = await everything(client)
            assert [m["type"] for m in messages].count("final") == 1
            assert client.close_code == 1000

    asyncio.run(exchange())
