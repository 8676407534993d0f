"""Clients that vanish, flood, stall or read slowly: bounded memory, and the slot comes back."""

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from ears_edge.servers.peer import MAX_UNREAD_PONG_BYTES
from tests.servers.ears_raw import BINARY, CLOSE, FIN, HANDSHAKE, PING, TEXT, frame, raw_client
from tests.servers.ears_rig import PATIENCE_S, FakeEngine, Rig, ask, command, everything, receive, rig, speech

FD_FOLDER = Path("/proc/self/fd")
LOOP_TURNS = 5_000
"""Far more than a server without a bound would need to take what a test sends."""


async def turn_the_loop() -> None:
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)


async def test_a_flood_of_audio_waits_outside() -> None:
    async with rig() as it, raw_client(it.port) as client:
        await client.upgrade()
        it.engine.gate.clear()
        block = frame(FIN | BINARY, bytes(1_000_000))
        for _ in range(64):
            client.writer.write(block)
        await turn_the_loop()
        assert client.writer.transport.get_write_buffer_size() > 40_000_000
        [connection] = it.server._live
        assert len(connection.recv_messages.frames) <= 3
        client.writer.transport.abort()
        it.engine.gate.set()
        await it.all_freed()
        await it.works()


async def test_a_client_that_does_not_read_its_words_is_dropped() -> None:
    engine = FakeEngine(slots=1)
    engine.word_tail = "x" * 200_000
    async with rig(engine, send_timeout_s=0.05) as it, raw_client(it.port) as client:
        await client.upgrade()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads nothing
        for _ in range(40):
            client.writer.write(frame(FIN | BINARY, speech(1, 2, 3)))
        await it.all_freed()
        engine.word_tail = ""
        await it.works()


async def test_a_client_that_does_not_read_its_answers_is_dropped() -> None:
    async with rig(send_timeout_s=0.05) as it, raw_client(it.port) as client:
        await client.upgrade()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads nothing
        asking = frame(FIN | TEXT, command("getstatus").encode()) * 200_000
        client.writer.write(asking)
        await it.all_freed()
        await it.works()


async def test_pongs_that_nobody_reads_are_bounded() -> None:
    async with rig() as it, raw_client(it.port) as client:
        await client.upgrade()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that reads nothing
        [connection] = it.server._live
        client.writer.write(frame(FIN | PING, bytes(125)) * 200_000)
        async with asyncio.timeout(PATIENCE_S):
            while it.server._live:  # the server tells nobody
                assert connection.transport.get_write_buffer_size() < 4 * MAX_UNREAD_PONG_BYTES
                await asyncio.sleep(0)
        await it.all_freed()
        await it.works()


async def test_pongs_that_are_read_are_not_limited() -> None:
    async with rig() as it, raw_client(it.port) as client:
        await client.upgrade()
        for _ in range(200):
            await client.send(frame(FIN | PING, bytes(125)) * 50)
            async with asyncio.timeout(PATIENCE_S):
                await client.reader.readexactly(127 * 50)
        await client.send(frame(FIN | CLOSE, b"\x03\xe8"))
        assert await client.close_code() == 1000


async def test_a_flood_of_small_messages_lets_others_through() -> None:
    async with rig() as it, raw_client(it.port) as flood:
        await flood.upgrade()
        flood.writer.write(frame(FIN | BINARY, bytes(4)) * 100_000)
        await it.works()
        assert it.server._live, "the flood is still on"


async def test_of_a_flood_of_pings_few_are_answered_before_others_have_their_turn() -> None:
    async with rig() as it, raw_client(it.port) as flood:
        await flood.upgrade()
        flood.writer.write(frame(FIN | PING, b"") * 5_000)
        answered = most = 0
        while answered < 5_000 * len(b"\x8a\x00"):
            await asyncio.sleep(0)
            now = len(flood.reader._buffer)  # type: ignore[attr-defined]  # asyncio's own
            most, answered = max(most, now - answered), now
        assert most < 1_000


async def test_a_client_that_vanishes_in_mid_frame_frees_its_slot() -> None:
    async with rig(FakeEngine(slots=1)) as it:
        async with raw_client(it.port) as client:
            await client.upgrade()
            await client.send(frame(FIN | BINARY, speech(1)) + frame(FIN | BINARY, speech(2))[:-7])
            await client.reader.readuntil(b"language_detected")
            assert it.engine.sessions == 1
        await it.all_freed()
        await it.works()


async def test_a_client_that_closes_but_keeps_its_tcp_connection_frees_its_slot() -> None:
    async with rig(FakeEngine(slots=1)) as it, raw_client(it.port) as client:
        await client.upgrade()
        await client.send(frame(FIN | BINARY, speech(1)))
        await client.reader.readuntil(b"language_detected")
        await client.send(frame(FIN | CLOSE, b"\x03\xe8"))
        await it.all_freed()
        await it.works()


async def test_a_session_outlives_a_slow_last_decode_only_while_someone_waits_for_it() -> None:
    async with rig(FakeEngine(slots=1)) as it:
        it.engine.last_decode.clear()
        async with it.connect() as client:
            await client.send(speech(1))
            await receive(client)
            await client.send("stop")
        await it.all_freed()
        it.engine.last_decode.set()
        await it.works()


async def connect_and_abort(it: Rig, turn: int) -> None:
    """A client that goes away at one of several moments."""
    sent = [
        b"",
        HANDSHAKE[:40],
        HANDSHAKE,
        HANDSHAKE + frame(FIN | TEXT, command("restart").encode()),
        HANDSHAKE + frame(FIN | BINARY, speech(1)),
        HANDSHAKE + frame(FIN | BINARY, speech(1)) + frame(FIN | TEXT, b"stop"),
        HANDSHAKE + frame(FIN | TEXT, command("authenticate", token="x").encode()),  # noqa: S106  # made up
        HANDSHAKE + frame(BINARY, speech(1)),
    ][turn % 8]
    async with raw_client(it.port) as client:
        await client.send(sent)
        if sent.startswith(HANDSHAKE) and turn % 3:
            await client.reader.readuntil(b"\r\n\r\n")


async def test_200_clients_that_come_and_go_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with rig(FakeEngine(slots=2), enable_listener_mode=True) as it:
        await it.works()
        await it.all_freed()
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        descriptors = open_descriptors()
        for turn in range(200):
            await connect_and_abort(it, turn)
        await it.all_freed()
        await turn_the_loop()
        assert len(asyncio.all_tasks()) == tasks
        assert threading.active_count() == threads
        assert open_descriptors() == descriptors
        assert it.server._registry.stream_ids() == []
        assert all(stream.closed.is_set() for stream in it.engine.streams)
        await it.works()
    assert not [r for r in caplog.records if r.levelno > logging.INFO or r.exc_info]


def open_descriptors() -> int:
    """How many this process has; 0 where the system does not tell."""
    return len(os.listdir(FD_FOLDER)) if FD_FOLDER.exists() else 0  # noqa: PTH208  # no Path made in the fd folder


async def test_many_at_once_each_get_their_own_words() -> None:
    async with rig(FakeEngine(slots=20)) as it:

        async def talk(n: int) -> str:
            async with it.connect() as client:
                for _ in range(5):
                    await client.send(speech(n))
                await client.send("stop")
                text: str = (await everything(client))[-1]["text"]
                return text

        texts = await asyncio.gather(*(talk(n) for n in range(1, 21)))
        assert texts == [" ".join([str(n)] * 5) for n in range(1, 21)]
        await it.all_freed()


async def test_too_many_unfinished_handshakes_are_dropped_unheard() -> None:
    async with rig(max_connections=1) as it:
        openings = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(70)]
        async with asyncio.timeout(PATIENCE_S):
            first_dropped, *_ = [reader for reader, _ in openings[65:] if await reader.read() == b""]
        assert first_dropped.at_eof()
        assert len(it.server._live) <= 65
        for _, writer in openings:
            writer.transport.abort()
        await it.all_freed()
        await it.works()


async def test_restarting_over_and_over_leaves_no_session_behind() -> None:
    async with rig(FakeEngine(slots=1)) as it, it.connect() as client:
        await ask(client, command("getstatus"))
        for _ in range(30):
            await client.send(speech(1))
            await client.send(command("restart"))
        await client.send("stop")
        messages = await everything(client)
        assert len([m for m in messages if m["type"] == "final"]) == 31
        assert len(it.engine.streams) == 30
        await it.all_freed()
