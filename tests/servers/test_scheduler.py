import asyncio
import gc
import logging
import struct
import threading
from collections.abc import Callable, Coroutine

import numpy as np
import pytest

from ears_edge.audio.pcm import PcmFormat
from ears_edge.config import EngineConfig
from ears_edge.engine.inference import InferenceQueue
from ears_edge.engine.recognizer import Decoded, Work
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.engine.stream import (
    MAX_BLOCK_BYTES,
    MAX_EVENTS,
    MAX_QUEUED_BYTES,
    MAX_QUEUED_ITEMS,
    Stream,
    _Block,
)
from ears_edge.errors import AudioFormatError, InferenceError, OverloadedError
from ears_edge.events import Event, FinalText, FinalWords
from ears_edge.units import F32
from tests.fakes import FRAME, FakeRecognizer, fake_engine, tone

FORMAT = PcmFormat(16_000, 4, 1, "float")
LIVE = SessionOptions(live_words=True)
PLAIN = SessionOptions()


def pcm(audio: F32) -> bytes:
    return audio.astype("<f4").tobytes()


async def events_of(stream: Stream) -> list[Event]:
    return [event async for event in stream.events()]


async def settled(reached: Callable[[], bool]) -> None:
    """Let the others run until this holds; the test's own time limit is the only one."""
    while not reached():  # noqa: ASYNC110  # nobody tells of it
        await asyncio.sleep(0)


def stuck(stream: Stream) -> bool:
    """Its session takes no more audio."""
    return stream._session is not None and not stream._session.wants_audio


async def transcribe(engine: Engine, levels: list[int], options: SessionOptions = PLAIN) -> str:
    stream = engine.open(options)
    try:
        await stream.feed(pcm(tone(levels, 2)), FORMAT)
        await stream.finish()
        final = (await events_of(stream))[-1]
        assert isinstance(final, FinalText)
        return final.text
    finally:
        await stream.close()


async def test_audio_becomes_words_and_the_slot_is_free_again() -> None:
    async with fake_engine() as engine:
        assert await transcribe(engine, [0, 3, 0, 5]) == "w2 w4"
        assert await transcribe(engine, [0, 3, 0, 5], LIVE) == "w2 w4"
        assert engine.sessions == 0


async def test_sessions_side_by_side_hear_their_own() -> None:
    async with fake_engine() as engine:
        texts = await asyncio.gather(*(transcribe(engine, [0, n, 0, n + 1]) for n in range(1, 8)))
    assert texts == [f"w{n - 1} w{n}" for n in range(1, 8)]


async def test_one_session_too_many_is_refused_and_costs_the_others_nothing() -> None:
    async with fake_engine(config=EngineConfig(max_sessions=2)) as engine:
        one, two = engine.open(PLAIN), engine.open(PLAIN)
        with pytest.raises(OverloadedError) as refused:
            engine.open(PLAIN)
        assert refused.value.code == "busy"
        await two.close()
        assert await transcribe(engine, [4]) == "w3"
        await one.close()


async def test_the_feeder_waits_while_the_queue_is_full() -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.clear()
    config = EngineConfig(max_queued_s=1.0, full_window_s=4.0, left_s=0.8, chunk_s=1.6, right_s=0.8)
    async with fake_engine(recognizer, config) as engine:
        stream = engine.open(PLAIN)
        second = pcm(tone([1, 2, 3, 4, 5, 6], 2))
        fed = 0

        async def feed() -> None:
            nonlocal fed
            for _ in range(60):
                await stream.feed(second, FORMAT)
                fed += 1

        feeder = asyncio.create_task(feed())
        await asyncio.to_thread(recognizer.started.wait)
        await settled(lambda: stream._queued_s >= config.max_queued_s and stuck(stream))
        assert fed < 20  # of a minute, the session took what two windows need, the queue a second
        assert not feeder.done()
        recognizer.gate.set()
        await feeder
        await stream.finish()
        final = (await events_of(stream))[-1]
        assert isinstance(final, FinalText)
        assert len(final.words) == 60 * 6
        await stream.close()


async def test_a_consumer_that_takes_nothing_stops_the_audio_not_the_memory() -> None:
    config = EngineConfig(max_queued_s=1.0, full_window_s=4.0, left_s=0.8, chunk_s=1.6, right_s=0.8)
    async with fake_engine(config=config) as engine:
        stream = engine.open(PLAIN)
        stream._outbox.extend(FinalWords(()) for _ in range(MAX_EVENTS))
        for _ in range(2):
            await stream.feed(pcm(tone([1, 2, 3, 4, 5, 6, 7], 1)), FORMAT)
        blocked = asyncio.create_task(stream.feed(pcm(tone([1])), FORMAT))
        done, _ = await asyncio.wait([blocked], timeout=0)
        assert not done
        assert len(stream._outbox) == MAX_EVENTS
        first = await anext(stream.events())
        assert first == FinalWords(())
        await blocked
        await stream.close()


async def held_up(engine: Engine) -> Stream:
    """A stream that takes nothing in, since nobody fetches its events."""
    stream = engine.open(PLAIN)
    stream._outbox.extend(FinalWords(()) for _ in range(MAX_EVENTS))
    return stream


async def blocked(call: Coroutine[None, None, None], stream: Stream) -> None:
    """The call waits, and the stream's end sets it free."""
    task = asyncio.create_task(call)
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    await stream.close()
    await task


async def test_bytes_are_bounded_whatever_the_rate() -> None:
    wide = PcmFormat(768_000, 4, 32, "float")
    async with fake_engine() as engine:
        stream = await held_up(engine)
        await blocked(stream.feed(bytes(2 * MAX_QUEUED_BYTES), wide), stream)
        assert MAX_QUEUED_BYTES <= stream._queued_bytes < MAX_QUEUED_BYTES + MAX_BLOCK_BYTES
        assert all(len(item.pcm) <= MAX_BLOCK_BYTES for item in stream._inbox if isinstance(item, _Block))


async def test_small_blocks_are_joined() -> None:
    async with fake_engine() as engine:
        stream = await held_up(engine)
        audio = tone([3, 0, 4])
        for sample in audio:
            await stream.feed(sample.tobytes(), FORMAT)
        assert len(stream._inbox) <= 2
        await stream.finish()
        final = [event async for event in stream.events()][-1]
        assert isinstance(final, FinalText)
        assert (final.text, final.duration) == ("w2 w3", len(audio))
        await stream.close()


async def test_blocks_of_formats_that_take_turns_and_flushes_are_bounded() -> None:
    async def feed(stream: Stream) -> None:
        for turn in range(MAX_QUEUED_ITEMS + 1):
            await stream.feed(bytes(4), PcmFormat(16_000 + turn % 2, 2, 1))

    async def flush(stream: Stream) -> None:
        for _ in range(MAX_QUEUED_ITEMS + 1):
            await stream.flush()

    async with fake_engine() as engine:
        for call in (feed, flush):
            stream = await held_up(engine)
            await blocked(call(stream), stream)
            assert len(stream._inbox) == MAX_QUEUED_ITEMS


async def test_the_engines_end_sets_feeders_and_consumers_free() -> None:
    async with fake_engine(config=EngineConfig(max_queued_s=1.0)) as engine:
        stream = await held_up(engine)
        feeder = asyncio.create_task(stream.feed(pcm(tone([1] * 60)), FORMAT))
        consumer = asyncio.create_task(events_of(engine.open(PLAIN)))
        await settled(lambda: stream._queued_s >= 1.0)
    await feeder
    assert await consumer == []
    assert engine.sessions == 0
    with pytest.raises(OverloadedError):
        engine.open(PLAIN)


async def test_a_failed_decode_ends_its_session_only() -> None:
    recognizer = FakeRecognizer()
    async with fake_engine(recognizer) as engine:
        recognizer.fail = True
        with pytest.raises(InferenceError):
            await transcribe(engine, [3])
        recognizer.fail = False
        assert await transcribe(engine, [3]) == "w2"
        assert engine.sessions == 0


async def test_a_decode_that_fails_after_its_session_went_is_nobodys_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recognizer = FakeRecognizer()
    recognizer.fail = True
    async with fake_engine(recognizer) as engine:
        for _ in range(2):
            stream = engine.open(PLAIN)
            await stream.feed(pcm(tone([3])), FORMAT)
            await stream.finish()
            await settled(lambda: stream._decode is not None and stream._decode.done())  # noqa: B023  # at once
            await stream.close()
        recognizer.gate.clear()
        recognizer.started.clear()
        stream = engine.open(PLAIN)
        await stream.feed(pcm(tone([3])), FORMAT)
        await stream.finish()
        await asyncio.to_thread(recognizer.started.wait)
        await stream.close()
        recognizer.gate.set()
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_decode_that_never_began_is_nobodys_traceback(caplog: pytest.LogCaptureFixture) -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.clear()
    queue = InferenceQueue()
    queue._pool.submit(recognizer.gate.wait)  # the thread is busy: what follows can be cancelled
    runner = asyncio.create_task(queue.run())
    work = Work(urgency="final", columns=np.zeros((8, 8), np.float32), begin=0, start=0, stop=1, state=None)
    decode = asyncio.create_task(queue.decode(recognizer, work))
    await settled(lambda: queue.decoding_s > 0)
    runner.cancel()
    closing = asyncio.create_task(queue.close())
    await asyncio.wait([decode], timeout=30)
    recognizer.gate.set()
    await closing
    assert decode.cancelled()
    assert not caplog.records


async def test_bad_audio_reaches_whoever_waits() -> None:
    async with fake_engine() as engine:
        stream = engine.open(PLAIN)
        await stream.feed(b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x07\x00" + b"\x00" * 30, FORMAT)
        await stream.finish()
        with pytest.raises(AudioFormatError):
            await events_of(stream)
        await stream.close()


async def test_feeding_a_closed_or_failed_stream_neither_hangs_nor_crashes() -> None:
    async with fake_engine() as engine:
        stream = engine.open(PLAIN)
        await stream.close()
        await stream.close()
        await stream.feed(pcm(tone([3])), FORMAT)
        assert await events_of(stream) == []
        await stream.finish()
        with pytest.raises(RuntimeError):
            await stream.feed(b"", FORMAT)


async def test_closing_in_mid_decode_frees_the_slot_at_once() -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.clear()
    async with fake_engine(recognizer) as engine:
        stream = engine.open(PLAIN)
        await stream.feed(pcm(tone([3, 4])), FORMAT)
        await stream.finish()
        await asyncio.to_thread(recognizer.started.wait)
        await stream.close()
        assert engine.sessions == 0
        recognizer.gate.set()


async def test_a_session_ends_by_itself_at_its_limit() -> None:
    async with fake_engine(config=EngineConfig(max_session_s=0.32)) as engine:
        stream = engine.open(PLAIN)
        await stream.feed(pcm(tone([1, 2, 3, 4, 5, 6, 7, 8])), FORMAT)
        final = (await events_of(stream))[-1]
        assert isinstance(final, FinalText)
        assert (final.text, final.duration, final.limit_reached) == ("w0 w1 w2 w3", 5120, True)
        await stream.feed(pcm(tone([9])), FORMAT)
        await stream.close()


async def test_a_flush_sends_words_while_the_session_goes_on() -> None:
    async with fake_engine() as engine:
        stream = engine.open(LIVE)
        events = stream.events()
        texts = []
        for level in (3, 7):
            await stream.feed(pcm(tone([level, 0])), FORMAT)
            await stream.flush()
            async for event in events:
                if isinstance(event, FinalWords):
                    texts.append([(word.text, word.start) for word in event.words])
                    break
        assert texts == [[("w2", 0)], [("w6", 2560)]]
        await stream.close()


async def test_a_flush_keeps_the_place_in_a_sample_frame_and_the_format_of_a_header() -> None:
    sound = pcm(tone([3, 0, 5, 0, 7, 0]))
    header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    header += b"data\xff\xff\xff\xff"
    cut = FRAME * 4 * 2
    for begin, declared in ((b"", FORMAT), (header, PcmFormat(8_000, 2, 2))):
        async with fake_engine() as engine:
            stream = engine.open(LIVE)
            await stream.feed(begin + sound[: cut + 3], declared)
            await stream.flush()
            await stream.feed(sound[cut + 3 :], declared)
            await stream.finish()
            final = (await events_of(stream))[-1]
            assert isinstance(final, FinalText)
            assert (final.text, final.duration) == ("w2 w4 w6", FRAME * 6)
            await stream.close()


class OrderedRecognizer(FakeRecognizer):
    """Notes the urgency of what it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def decode(self, work: Work) -> Decoded:
        self.started.set()
        self.gate.wait()
        self.order.append(work.urgency)
        return super().decode(work)


def work(urgency: str) -> Work:
    columns = np.zeros((8, 8), np.float32)
    return Work(urgency=urgency, columns=columns, begin=0, start=0, stop=1, state=None)  # type: ignore[arg-type]  # table


async def test_finals_come_before_windows_and_live_words() -> None:
    recognizer = OrderedRecognizer()
    recognizer.gate.clear()
    queue = InferenceQueue()
    runner = asyncio.create_task(queue.run())
    first = asyncio.create_task(queue.decode(recognizer, work("window")))
    await asyncio.to_thread(recognizer.started.wait)
    wanted = ["live", "window", "final", "live", "final"]
    jobs = [asyncio.create_task(queue.decode(recognizer, work(urgency))) for urgency in wanted]
    await asyncio.sleep(0)
    recognizer.gate.set()
    await asyncio.gather(first, *jobs)
    assert recognizer.order == ["window", "final", "final", "window", "live", "live"]
    runner.cancel()
    await queue.close()


async def test_work_of_a_session_that_has_gone_is_dropped() -> None:
    recognizer = OrderedRecognizer()
    recognizer.gate.clear()
    queue = InferenceQueue()
    runner = asyncio.create_task(queue.run())
    first = asyncio.create_task(queue.decode(recognizer, work("window")))
    await asyncio.to_thread(recognizer.started.wait)
    gone = asyncio.create_task(queue.decode(recognizer, work("final")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    assert not queue._waiting
    recognizer.gate.set()
    await first
    assert recognizer.order == ["window"]
    runner.cancel()
    await queue.close()


async def test_a_final_does_not_queue_behind_a_look_of_its_own_session() -> None:
    recognizer = OrderedRecognizer()
    recognizer.gate.clear()
    async with fake_engine(recognizer) as engine:
        busy, live = engine.open(PLAIN), engine.open(LIVE)
        await busy.feed(pcm(tone([2])), FORMAT)
        await busy.finish()
        await asyncio.to_thread(recognizer.started.wait)
        await live.feed(pcm(tone([3, 4, 5], 8)), FORMAT)
        await settled(lambda: [job.work.urgency for job in engine._queue._waiting] == ["live"])
        await live.finish()
        await settled(lambda: [job.work.urgency for job in engine._queue._waiting] == ["final"])
        recognizer.gate.set()
        final = (await events_of(live))[-1]
        assert isinstance(final, FinalText)
        assert final.text == "w2 w3 w4"
        assert recognizer.order == ["final", "final"]


async def test_live_words_rest_as_long_as_they_took() -> None:
    now = 100.0
    took = {"live": 3.0, "final": 1.0, "window": 5.0}
    recognizer = OrderedRecognizer()

    def decode(work: Work) -> Decoded:
        nonlocal now
        now += took[work.urgency]
        return OrderedRecognizer.decode(recognizer, work)

    recognizer.decode = decode  # type: ignore[method-assign]  # slow, by the clock that it turns
    queue = InferenceQueue(lambda: now)
    runner = asyncio.create_task(queue.run())
    await queue.decode(recognizer, work("live"))
    waiting = asyncio.create_task(queue.decode(recognizer, work("live")))
    await queue.decode(recognizer, work("final"))
    assert recognizer.order == ["live", "final"]  # two of three seconds are left
    await queue.decode(recognizer, work("window"))
    await waiting
    assert recognizer.order == ["live", "final", "window", "live"]
    runner.cancel()
    await queue.close()


async def test_a_hundred_abandoned_sessions_leave_nothing() -> None:
    async with fake_engine() as engine:
        before = threading.active_count()
        for round_ in range(100):
            stream = engine.open(LIVE)
            await stream.feed(pcm(tone([1, 2, 3])), FORMAT)
            if round_ % 3 == 0:
                await stream.finish()
            await stream.close()
        assert engine.sessions == 0
        assert len(asyncio.all_tasks()) == 2  # this test, and the engine's queue
        assert threading.active_count() <= before + 2
