"""Health and metrics over plain HTTP on the eaRS port, beside clients that speak."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ears_edge.config import EarsConfig, WyomingConfig
from ears_edge.engine.scheduler import Engine
from ears_edge.models.status import ModelStatus
from ears_edge.pages import pages
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.wyoming import WyomingServer
from tests.servers.ears_rig import PATIENCE_S, connect_to


@asynccontextmanager
async def server(engine: Engine, *, max_connections: int = 64) -> AsyncIterator[EarsServer]:
    config = EarsConfig(host="127.0.0.1", port=0, max_connections=max_connections)
    ears = EarsServer(config, engine)
    ears.pages.update(pages(engine, ears, WyomingServer(WyomingConfig(), engine)))
    async with ears:
        yield ears


def address(ears: EarsServer) -> str:
    return f"ws://127.0.0.1:{ears.addresses[0][1]}"


async def get(ears: EarsServer, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection(*ears.addresses[0])
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(PATIENCE_S):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}, body


async def test_health_tells_whether_the_model_is_well(engine: Engine) -> None:
    async with server(engine) as ears:
        status, headers, body = await get(ears, "/health")
        told = json.loads(body)
        assert (status, told["well"], told["model"]["serving"]) == (200, True, "fake")
        assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
        assert int(headers["content-length"]) == len(body)
        engine.status = ModelStatus(
            wanted="big", serving="fake", phase="failed", fault="it heard 'x'", code="model-self-test"
        )
        status, _, body = await get(ears, "/health")
        assert (status, json.loads(body)["text"]) == (
            503,
            "big can't be used: it heard 'x'; fake serves instead",
        )


async def test_a_model_on_its_way_is_no_illness(engine: Engine) -> None:
    async with server(engine) as ears:
        engine.status = ModelStatus(wanted="big", serving="fake", phase="fetching", done=0.5)
        status, _, body = await get(ears, "/health")
        assert (status, json.loads(body)["model"]["done"]) == (200, 0.5)


async def test_metrics_are_what_prometheus_reads(engine: Engine) -> None:
    async with server(engine) as ears:
        engine.status = ModelStatus(
            wanted='b"ig', serving="fake", phase="failed", fault="x", code="model-self-test"
        )
        async with connect_to(address(ears)):
            status, headers, body = await get(ears, "/metrics")
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        assert samples["ears_edge_model_bad", "model-self-test"] == 1
        assert samples["ears_edge_model_phase", "failed"] == 1
        assert samples["ears_edge_model_phase", "ready"] == 0
        assert samples["ears_edge_model_info", "fake", 'b"ig'] == 1
        assert samples["ears_edge_sessions",] == 0
        assert samples["ears_edge_ears_connections_total",] == 1
        assert samples["ears_edge_wyoming_connections",] == 0


async def test_a_page_of_a_foreign_origin_and_any_other_path_get_nothing(engine: Engine) -> None:
    async with server(engine) as ears:
        assert (await get(ears, "/health", "Origin: https://evil.example"))[0] == 403
        assert (await get(ears, "/"))[0] == 426
        assert (await get(ears, "/metrics/../health"))[0] == 426


async def test_health_is_told_when_there_is_no_room_for_clients(engine: Engine) -> None:
    async with server(engine, max_connections=1) as ears, connect_to(address(ears)):
        assert (await get(ears, "/health"))[0] == 200


@pytest.mark.parametrize("path", ["/health", "/metrics"])
async def test_a_client_may_connect_to_any_path(engine: Engine, path: str) -> None:
    async with server(engine) as ears, connect_to(address(ears) + path) as client:
        await client.send('{"type": "getstatus"}')
        assert json.loads(await client.recv())["type"] == "enginechanged"
