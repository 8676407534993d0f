import asyncio
import logging

import pytest
from websockets.exceptions import ConnectionClosed

from ears_edge.config import EarsConfig
from ears_edge.errors import (
    AudioFormatError,
    EarsEdgeError,
    InferenceError,
    OverloadedError,
    UnsupportedError,
)
from tests.servers.ears_rig import (
    NOW,
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

ENGINE_CHANGED = {"type": "enginechanged", "engine": "parakeet"}
STATUS = {
    "type": "status",
    "paused": False,
    "vad": True,
    "timestamps": False,
    "vad_timeout": None,
    "lang": None,
    "engine": "parakeet",
    "model": "fake",
    "loading": None,
}


async def test_words_come_live_and_the_final_holds_them_all() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1, 2))
        live = await until(client, "word")
        await client.send(speech(0, 3))
        await client.send(command("stop"))
        rest = await everything(client)
        assert live[0] == ENGINE_CHANGED
        assert texts(live + rest) == ["1", "2", "3"]
        assert rest[-1]["text"] == "1 2 3"
        assert [word["end_time"] for word in rest[-1]["words"]] == [0.1, 0.2, 0.4]
        assert kinds(rest).count("final") == 1
        assert client.close_code == 1000
        assert {"type": "pause", "timestamp": NOW} in rest
        await it.all_freed()


async def test_nothing_is_said_before_the_first_message() -> None:
    async with rig() as it, it.connect() as client:
        pong = await client.ping()
        await pong
        await client.pong(b"unasked")
        assert it.server._registry.stream_ids() == []
        assert await ask(client, command("getstatus")) == ENGINE_CHANGED
        assert await receive(client) == STATUS


async def test_timestamps_and_no_pauses_if_configured() -> None:
    async with rig(timestamps=True, vad=False) as it, it.connect() as client:
        await client.send(speech(1, 0))
        await client.send("stop")
        messages = await everything(client)
    assert "pause" not in kinds(messages)
    assert [m["end_time"] for m in messages if m["type"] == "word"] == [0.1]


async def test_a_slot_is_taken_with_the_first_audio_only() -> None:
    async with rig(FakeEngine(slots=1)) as it, it.connect() as window, it.connect() as other:
        await ask(window, command("setengine", engine="parakeet"))
        assert it.engine.sessions == 0
        await other.send(speech(4))
        await other.send("stop")
        assert texts(await everything(other)) == ["4"]


async def test_stop_without_audio_gives_an_empty_final() -> None:
    async with rig() as it, it.connect() as client:
        await client.send("stop")
        assert await everything(client) == [ENGINE_CHANGED, {"type": "final", "text": "", "words": []}]
        assert client.close_code == 1000
        assert it.engine.streams == []


async def test_audio_behind_stop_is_not_heard() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await client.send("stop")
        await client.send(speech(2))
        assert (await everything(client))[-1]["text"] == "1"


async def test_ragged_ends_are_dropped_per_message_and_counted() -> None:
    async with rig() as it, it.connect() as client:
        for piece in (speech(1) + b"abc", b"", b"xy", speech(2) + b"z"):
            await client.send(piece)
        await client.send("stop")
        assert texts(await everything(client)) == ["1", "2"]
        assert it.server.counters.ragged_bytes == 6


async def test_busy_is_told_and_not_listed() -> None:
    async with rig(FakeEngine(slots=1)) as it, it.connect() as one, it.connect() as two:
        await one.send(speech(1))
        await receive(one)
        await two.send(speech(2))
        assert await everything(two) == [
            {
                "type": "error",
                "message": "server busy - maximum concurrent sessions reached",
                "code": "busy",
            }
        ]
        assert (two.close_code, two.close_reason) == (1013, "busy")
        assert it.server._registry.stream_ids() == [1]
        await one.send("stop")
        assert (await everything(one))[-1]["text"] == "1"
        await it.works()


async def test_busy_at_the_first_audio_after_commands() -> None:
    async with rig(FakeEngine(slots=0)) as it, it.connect() as client:
        await ask(client, command("setengine", engine="prkt"))
        await client.send(speech(2))
        assert kinds(await everything(client)) == ["enginechanged", "error"]
        assert client.close_code == 1013
        await it.all_freed()
        assert it.server._registry.stream_ids() == []


async def test_restart_makes_what_was_said_final_and_begins_at_zero() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1, 2))
        await client.send(command("restart"))
        await client.send(speech(3))
        await client.send("stop")
        messages = await everything(client)
        assert it.server._registry.stream_ids() == []
    old, new = messages[: kinds(messages).index("final") + 1], messages[kinds(messages).index("final") + 1 :]
    assert old[-1]["text"] == "1 2"
    assert new[0] == ENGINE_CHANGED
    assert new[-1]["text"] == "3"
    assert new[-1]["words"][0]["start_time"] == 0
    assert it.engine.sessions == 0


async def test_restart_needs_no_second_slot_and_keeps_the_stream_id() -> None:
    async with rig(FakeEngine(slots=1)) as it, it.connect() as client:
        await client.send(speech(1))
        for _ in range(3):
            await client.send(command("restart"))
            await client.send(speech(2))
            await until(client, "final")
            assert it.server._registry.stream_ids() == [1]
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == "2"


async def test_restart_without_audio_gives_no_final() -> None:
    async with rig() as it, it.connect() as client:
        assert await ask(client, command("restart")) == ENGINE_CHANGED
        assert await receive(client) == ENGINE_CHANGED
        assert await ask(client, command("getstatus")) == STATUS


@pytest.mark.parametrize("name", ["parakeet", "PRKT", " Parakeet "])
async def test_our_own_engine_can_be_asked_for(name: str) -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await client.send(command("setengine", engine=name))
        await client.send("stop")
        messages = await everything(client)
    assert kinds(messages).count("enginechanged") == 2
    assert messages[-1]["text"] == "1"


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("kyutai", "engine not available", "engine-not-available"),
        ("Moshi", "engine not available", "engine-not-available"),
        ("whisper", "unknown engine", "unknown-engine"),
        ("", "unknown engine", "unknown-engine"),
    ],
)
async def test_another_engine_is_refused_and_the_session_goes_on(name: str, message: str, code: str) -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        assert await receive(client) == ENGINE_CHANGED
        answer = (await ask(client, command("setengine", engine=name)), await receive(client))
        assert {"type": "error", "message": message, "code": code} in answer
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == "1"


@pytest.mark.parametrize("lang", ["en", "EN", "en-GB", "en_US"])
async def test_a_language_of_the_model_is_taken(lang: str) -> None:
    async with rig() as it, it.connect() as client:
        assert await ask(client, command("setlanguage", lang=lang)) == ENGINE_CHANGED
        assert await receive(client) == {"type": "languagechanged", "lang": "en"}
        assert await receive(client) == STATUS | {"lang": "en"}
        await client.send(speech(1))
        await client.send("stop")
        await everything(client)
        assert it.engine.streams[0].options.language == "en"


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("xx", "the model fake does not speak 'xx'; it speaks en, de"),
        ("english", "the model fake does not speak 'english'; it speaks en, de"),
        ("", "none was named"),
    ],
)
async def test_a_language_that_the_model_has_not_is_refused_and_the_session_goes_on(
    lang: str, said: str
) -> None:
    async with rig(FakeEngine(languages=("en", "de"))) as it, it.connect() as client:
        await ask(client, command("setlanguage", lang=lang))
        assert await receive(client) == {
            "type": "error",
            "message": f"unsupported language: {said}",
            "code": "unsupported-language",
        }
        await client.send(speech(1))
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == "1"
        assert it.engine.streams[0].options.language is None


@pytest.mark.parametrize(
    ("failure", "message", "close"),
    [
        (OverloadedError("big is on its way", code="loading"), "server busy - big is on its way", 1013),
        (UnsupportedError("no 'de' here", code="unsupported-language"), "no 'de' here", 1008),
    ],
)
async def test_why_nobody_hears_is_told_with_its_code(
    failure: EarsEdgeError, message: str, close: int
) -> None:
    async with rig() as it, it.connect() as client:
        it.engine.failure = failure
        await client.send(speech(1))
        told = (await everything(client))[-1]
        assert told == {"type": "error", "message": message, "code": failure.code}
        assert (client.close_code, client.close_reason) == (close, failure.code)


async def test_status_tells_the_language_that_was_heard() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await until(client, "language_detected")
        assert await ask(client, command("getstatus")) == STATUS | {"lang": "en"}


async def test_while_paused_nothing_is_heard_and_status_says_so() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await client.send(command("pause"))
        await client.send(speech(2))
        await client.send(command("getstatus"))
        before = await until(client, "status")
        assert before[-1]["paused"] is True
        await client.send(command("resume"))
        await client.send(speech(3))
        await client.send(command("getstatus"))
        assert (await until(client, "status"))[-1]["paused"] is False
        await client.send("stop")
        final = (await everything(client))[-1]
    assert texts(before) == ["1"], "what was said before the pause is made final by it"
    assert final["text"] == "1 3"
    assert final["words"][1]["start_time"] == 0.1, "stream time stands still"


async def test_setvadtimeout_has_no_effect_and_no_answer() -> None:
    async with rig() as it, it.connect() as client:
        await ask(client, command("setvadtimeout", seconds=0.01))
        assert await ask(client, command("getstatus")) == STATUS


async def test_a_stall_makes_what_was_heard_final() -> None:
    async with rig(stall_flush_s=0.01) as it, it.connect() as client:
        await client.send(speech(1, 2))
        async with asyncio.timeout(PATIENCE_S):
            first = await until(client, "segment")
            assert texts(first) == ["1", "2"]
            stream = it.engine.streams[0]
            await stream.flushed.wait()
            stream.flushed.clear()
            await client.send(command("getstatus"))
            await until(client, "status")
            assert not stream.flushed.is_set(), "one stall, one flush"
            await client.send(speech(3))
            assert texts(await until(client, "segment")) == ["3"]
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == "1 2 3"


async def test_no_flush_while_audio_keeps_coming() -> None:
    async with rig(stall_flush_s=1000) as it, it.connect() as client:
        for _ in range(20):
            await client.send(speech(1))
        await client.send("stop")
        await everything(client)
        assert not it.engine.streams[0].flushed.is_set()


async def test_a_silent_client_is_ended_with_its_final() -> None:
    async with rig(idle_timeout_s=0.01, stall_flush_s=1000) as it, it.connect() as client:
        await client.send(speech(1))
        messages = await everything(client)
        assert messages[-1]["text"] == "1"
        assert (client.close_code, client.close_reason) == (1000, "idle for 0.01 s")


async def test_a_client_that_never_speaks_is_closed() -> None:
    async with rig(first_message_timeout_s=0.01) as it, it.connect() as client:
        assert await everything(client) == []
        assert (client.close_code, client.close_reason) == (1008, "no message for 0.01 s")


async def test_a_session_that_the_engine_ends_is_closed_with_its_final() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await receive(client)
        await it.engine.streams[0].end()
        assert (await everything(client))[-1]["type"] == "final"
        assert (client.close_code, client.close_reason) == (1000, "the session is as long as one may be")


@pytest.mark.parametrize(
    ("failure", "message", "close_code", "level"),
    [
        (InferenceError("the model gave NaN"), "internal server error", 1011, logging.INFO),
        (EarsEdgeError("something"), "internal server error", 1011, logging.ERROR),
        (AudioFormatError("not audio"), "not audio", 1008, logging.INFO),
        (
            OverloadedError("too slow"),
            "server busy - maximum concurrent sessions reached",
            1013,
            logging.INFO,
        ),
    ],
)
async def test_a_session_that_breaks_tells_why_and_costs_nobody_else(
    failure: EarsEdgeError,
    message: str,
    close_code: int,
    level: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with rig() as it, it.connect() as client:
        it.engine.failure = failure
        await client.send(speech(1))
        last = (await everything(client))[-1]
        assert last == {"type": "error", "message": message, "code": failure.code}
        assert client.close_code == close_code
        await it.all_freed()
        it.engine.failure = None
        await it.works()
    told = [record for record in caplog.records if str(failure) in record.getMessage()]
    assert [(record.levelno, record.exc_info) for record in told] == [(level, None)]


@pytest.mark.parametrize("last", ["stop", command("restart")])
async def test_a_last_decode_that_fails_is_told_too(last: str) -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await until(client, "language_detected")
        it.engine.failure = InferenceError("no memory")
        await client.send(last)
        assert await everything(client) == [
            {"type": "error", "message": "internal server error", "code": "inference"}
        ]
        assert client.close_code == 1011
        await it.all_freed()


async def test_our_own_defect_ends_one_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    class Defective(FakeEngine):
        def open(self, options: object) -> object:  # type: ignore[override]  # a defect
            raise ZeroDivisionError(options)

    async with rig() as it:
        it.server._engine = Defective()  # type: ignore[assignment]  # as above
        async with it.connect() as client:
            await client.send(speech(1))
            with pytest.raises(ConnectionClosed):
                await receive(client)
            assert client.close_code == 1011
        it.server._engine = it.engine
        await it.works()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_audio_waits_while_the_engine_is_behind() -> None:
    async with rig() as it, it.connect() as client:
        it.engine.gate.clear()
        await client.send(speech(*range(1, 21)))
        assert await receive(client) == ENGINE_CHANGED
        it.engine.gate.set()
        await client.send("stop")
        assert (await everything(client))[-1]["text"] == " ".join(map(str, range(1, 21)))


async def test_close_sends_finals_and_then_goes_away() -> None:
    async with rig() as it, it.connect() as client, it.connect() as undecided:
        await client.send(speech(1))
        await receive(client)
        await it.server.close(grace_s=PATIENCE_S)
        assert (await everything(client))[-1]["text"] == "1"
        assert (client.close_code, client.close_reason) == (1001, "the server is shutting down")
        assert await everything(undecided) == []
        assert undecided.close_code == 1001
        assert it.engine.sessions == 0
        with pytest.raises(OSError):  # noqa: PT011  # refused; how it is worded is the system's
            await it.connect()


async def test_close_does_not_wait_for_ever() -> None:
    async with rig() as it, it.connect() as client:
        await client.send(speech(1))
        await receive(client)
        it.engine.last_decode.clear()
        async with asyncio.timeout(PATIENCE_S):
            await it.server.close(grace_s=0)
        assert it.engine.sessions == 0
        assert not it.server._live
        assert "final" not in kinds(await everything(client))


async def test_both_families_are_served_where_there_are_both() -> None:
    async with rig(host="0.0.0.0") as it:  # noqa: S104  # what is tested
        hosts = {host for host, _ in it.server.addresses}
        assert len({port for _, port in it.server.addresses}) == 1
        assert "0.0.0.0" in hosts  # noqa: S104  # as above
        if "::" in hosts:
            it.url = f"ws://[::1]:{it.port}/any/path?x=1"
            await it.works()


async def test_defaults_are_those_that_the_protocol_names() -> None:
    assert (EarsConfig().port, EarsConfig().host) == (8765, "0.0.0.0")  # noqa: S104  # the documented default
