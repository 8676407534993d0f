"""Clients that are too many, too fast, too slow or silent; nothing is left behind by any of them."""

import asyncio
import logging
import os
import socket
import struct
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from wyoming.info import Describe
from wyoming.ping import Ping

from ears_edge.config import WyomingConfig
from ears_edge.servers.wyoming import MAX_REFUSALS, WyomingServer
from tests.servers.wyoming_fakes import START, Client, FakeEngine, chunk, inline, utterance

URI = "tcp://127.0.0.1:0"
FDS = Path("/proc/self/fd")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def descriptors() -> int:
    return len(os.listdir(FDS)) if FDS.exists() else 0  # noqa: PTH208  # iterdir() holds one itself


async def all_ended(server: WyomingServer) -> None:
    if tasks := {*server._connections, *server._refusals}:
        await asyncio.wait(tasks)


async def test_one_connection_more_than_allowed_is_told_so_and_closed(engine: FakeEngine) -> None:
    async with WyomingServer(WyomingConfig(uri=URI, max_connections=2), engine) as server:
        async with await Client.to(server.addresses[0]) as one, await Client.to(server.addresses[0]) as two:
            await one.send(Ping("1"))
            await one.until("pong")
            async with await Client.to(server.addresses[0]) as three:
                await three.send(Describe())
                [error] = await three.rest()
                assert (error.type, error.data["code"]) == ("error", "busy")
            await two.send(Ping("2"))
            await two.until("pong")
        await all_ended(server)
        async with await Client.to(server.addresses[0]) as four:
            await four.send(Ping("4"))
            await four.until("pong")


async def test_refusals_are_bounded_too(engine: FakeEngine) -> None:
    async with (
        WyomingServer(WyomingConfig(uri=URI, max_connections=1), engine) as server,
        AsyncExitStack() as opened,
    ):
        uri = server.addresses[0]
        clients = [await opened.enter_async_context(await Client.to(uri)) for _ in range(MAX_REFUSALS + 3)]
        assert await clients[-1].rest() == []
        assert len(server._refusals) == MAX_REFUSALS
        assert [message.data["code"] for message in await clients[1].rest()] == ["busy"]
        await clients[0].send(Ping("the one that is served"))
        await clients[0].until("pong")


@pytest.mark.parametrize(
    "sent", [b"", b'{"type":"ping","data', chunk()[:-1], START + chunk(), START], ids=range(5)
)
async def test_a_client_that_stands_still_is_told_and_closed(sent: bytes, engine: FakeEngine) -> None:
    config = WyomingConfig(uri=URI, idle_timeout_s=0.05)
    async with (
        WyomingServer(config, engine) as server,
        await Client.to(server.addresses[0]) as client,
    ):
        await client.send(sent)
        [error] = await client.rest()
        assert error.data["code"] == "idle-timeout"
        assert not engine.open_streams


async def test_waiting_for_an_answer_is_not_standing_still(engine: FakeEngine) -> None:
    config = WyomingConfig(uri=URI, idle_timeout_s=0.4)
    engine.decoded.clear()
    async with (
        WyomingServer(config, engine) as server,
        await Client.to(server.addresses[0]) as client,
        await Client.to(server.addresses[0]) as idle,
    ):
        await client.send(utterance())
        await engine.decoding.wait()
        # Both are silent from here on; the one that waits for nothing is closed first.
        assert [message.data["code"] for message in await idle.rest()] == ["idle-timeout"]
        engine.decoded.set()
        messages = await client.until("transcript-stop")
        assert messages[-2].data["text"] == "heard 640 bytes"


def hang_up(client: Client) -> None:
    """As a program does that has bytes unread, or is killed: TCP's reset."""
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.abort()


@pytest.mark.parametrize(
    ("sent", "until", "told"), [(utterance(), "transcript", False), (START + chunk(), "", True)]
)
async def test_a_lost_client_is_worth_a_line_if_it_misses_its_answer(
    sent: bytes, until: str, *, told: bool, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with WyomingServer(WyomingConfig(uri=URI), engine) as server:
        client = await Client.to(server.addresses[0])
        await client.send(sent)
        if until:
            await client.until(until)
        else:
            await engine.feeding.wait()
        hang_up(client)
        await all_ended(server)
    assert any("connection lost" in message for message in caplog.messages) is told


async def test_a_client_that_reads_nothing_is_dropped(engine: FakeEngine) -> None:
    config = WyomingConfig(uri=URI, send_timeout_s=0.2)
    async with (
        WyomingServer(config, engine) as server,
        await Client.to(server.addresses[0]) as client,
        await Client.to(server.addresses[0]) as other,
    ):
        client.read_nothing()
        # Far more than both sides' kernels hold; what is not sent stays with the client.
        client.writer.write(inline("ping", {"text": "x" * 16_000}) * 2_000)
        await other.send(Ping("the first is admitted by now"))
        await other.until("pong")
        await asyncio.wait(set(server._connections), return_when=asyncio.FIRST_COMPLETED)
        assert server.connections == 1


async def test_a_slow_reader_drops_its_own_utterance_only(engine: FakeEngine) -> None:
    config = WyomingConfig(uri=URI, send_timeout_s=0.2, live_words=True)
    async with WyomingServer(config, engine) as server, await Client.to(server.addresses[0]) as client:
        client.read_nothing()
        await client.send(START, chunk())
        await engine.feeding.wait()
        client.writer.write(inline("ping", {"text": "x" * 16_000}) * 2_000)
        await engine.streams[0].closed.wait()
        async with await Client.to(server.addresses[0]) as other:
            await other.send(utterance())
            await other.until("transcript-stop")


async def test_more_audio_than_the_engine_takes_waits_and_costs_nobody_else(engine: FakeEngine) -> None:
    engine.room.clear()
    async with (
        WyomingServer(WyomingConfig(uri=URI), engine) as server,
        await Client.to(server.addresses[0]) as flood,
        await Client.to(server.addresses[0]) as other,
    ):
        sent = asyncio.create_task(flood.send(utterance(20_000_000, step=4_000)))
        await engine.feeding.wait()
        await other.send(Describe(), Ping("quick"))
        await other.until("pong")
        assert not engine.streams[0].heard
        engine.room.set()
        messages = await flood.until("transcript-stop")
        assert messages[-2].data["text"] == "heard 20000000 bytes"
        await sent


async def test_a_flood_of_small_events_lets_others_have_their_turn(engine: FakeEngine) -> None:
    async with (
        WyomingServer(WyomingConfig(uri=URI), engine) as server,
        await Client.to(server.addresses[0]) as flood,
        await Client.to(server.addresses[0]) as other,
    ):
        flood.writer.write(inline("x") * 20_000 + inline("ping"))
        await other.send(Describe())
        await other.until("info")
        await flood.until("pong")


async def test_of_a_flood_one_event_is_answered_before_others_have_their_turn(engine: FakeEngine) -> None:
    async with WyomingServer(WyomingConfig(uri=URI), engine) as server:
        async with await Client.to(server.addresses[0]) as flood:
            flood.writer.write(inline("ping") * 500)
            answered = most = 0
            while answered < 500:
                await asyncio.sleep(0)
                now = flood.reader._buffer.count(b'"pong"')  # type: ignore[attr-defined]  # asyncio's own
                most, answered = max(most, now - answered), now
        assert most < 10


async def test_what_waits_to_be_sent_is_one_message_at_most(engine: FakeEngine) -> None:
    async with (
        WyomingServer(WyomingConfig(uri=URI), engine) as server,
        await Client.to(server.addresses[0]) as client,
    ):
        await client.send(Ping())
        await client.until("pong")
        [connection] = server._connections.values()
        transport = connection._channel._writer.transport
        assert transport.get_write_buffer_limits() == (0, 0)
        server_side: socket.socket = transport.get_extra_info("socket")
        assert server_side.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_two_hundred_connections_that_abort_leave_nothing_behind(engine: FakeEngine) -> None:
    async with WyomingServer(WyomingConfig(uri=URI), engine) as server:
        tasks, threads, open_before = asyncio.all_tasks(), threading.active_count(), descriptors()
        beginnings = [b"", b'{"type":', START, START + chunk(), utterance() + START + chunk()[:-7]]
        for number in range(200):
            client = await Client.to(server.addresses[0])
            client.writer.write(beginnings[number % len(beginnings)])
            client.abort()
        last = await Client.to(server.addresses[0])
        await last.send(Ping("after all the others"))
        await last.until("pong")
        last.abort()
        await all_ended(server)
        assert server.connections == 0
        assert not engine.open_streams
        assert asyncio.all_tasks() == tasks
        assert threading.active_count() == threads
        assert descriptors() == open_before
