"""`ears-edge bench --server`: both protocols, real servers and engine; only the recognizer is a fake."""

from collections.abc import AsyncIterator

import pytest

from ears_edge.audio.pcm import PcmFormat, encode_s16
from ears_edge.bench.clips import Clip
from ears_edge.bench.command import on_server
from ears_edge.bench.figures import Plan
from ears_edge.config import EarsConfig, EngineConfig, WyomingConfig
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.errors import ConfigError, ServerError
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.units import SAMPLE_RATE
from tests.fakes import fake_engine, tone

CLIPS = [
    Clip(name=name, pcm=encode_s16(tone(levels, 2)), fmt=PcmFormat(SAMPLE_RATE, 2, 1), reference=text)
    for name, levels, text in (("a", [0, 5, 9, 13, 0], "w4 w8 w11"), ("b", [0, 7, 0], "w6"))
]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with fake_engine(config=EngineConfig(max_sessions=2)) as engine:
        yield engine


@pytest.fixture
async def wyoming(engine: Engine) -> AsyncIterator[str]:
    async with WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine) as server:
        yield server.addresses[0]


@pytest.fixture
async def ears(engine: Engine) -> AsyncIterator[str]:
    async with EarsServer(EarsConfig(host="127.0.0.1", port=0, pid_file=False), engine) as server:
        host, port = server.addresses[0]
        yield f"ws://{host}:{port}"


async def test_a_wyoming_server_is_measured(wyoming: str) -> None:
    report = await on_server(CLIPS, Plan(sessions=2, repeat=2), wyoming)
    assert report.failures() == {}
    assert [(name, texts) for name, _, texts in report.clips()] == [("a", ["w4 w8 w11"]), ("b", ["w6"])]
    total = report.total()
    assert total.runs == 8
    assert total.errors is not None
    assert total.errors.rate == 0
    assert report.peak_memory_bytes is None


async def test_an_ears_server_is_measured_and_tells_when_words_came(ears: str) -> None:
    report = await on_server(CLIPS, Plan(live=True), ears)
    assert report.failures() == {}
    assert all(run.text for run in report.runs)
    assert all(len(run.word_lags_s) == len(run.text.split()) for run in report.runs)
    assert report.total().first_word_s is not None


async def test_a_server_that_is_full_from_the_start_ends_the_measurement(
    wyoming: str, engine: Engine
) -> None:
    streams = [engine.open(SessionOptions()) for _ in range(2)]
    with pytest.raises(ServerError) as raised:
        await on_server(CLIPS, Plan(), wyoming)
    assert raised.value.code == "busy"
    for stream in streams:
        await stream.close()


async def test_a_server_that_is_not_there_ends_the_measurement_at_once(unused_tcp_port: int) -> None:
    with pytest.raises(ServerError) as raised:
        await on_server(CLIPS, Plan(), f"tcp://127.0.0.1:{unused_tcp_port}")
    assert raised.value.code == "server-unreachable"


async def test_an_address_of_no_known_protocol_is_the_users_mistake() -> None:
    with pytest.raises(ConfigError, match="http://nowhere"):
        await on_server(CLIPS, Plan(), "http://nowhere")
