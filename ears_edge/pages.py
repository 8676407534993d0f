"""What the daemon answers to plain HTTP on the eaRS port: its health, and its metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from http import HTTPStatus

from ears_edge import __version__
from ears_edge.engine.scheduler import Engine
from ears_edge.metrics import CONTENT_TYPE, Metrics
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.plain_http import Answer, Page
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.typed import to_json

JSON = "application/json"


def pages(engine: Engine, ears: EarsServer, wyoming: WyomingServer | None) -> Mapping[str, Page]:
    """The pages, by their paths."""

    def gauges() -> Iterable[tuple[str, str, float]]:
        yield "sessions", "Speakers being heard.", engine.sessions
        yield "decoding_seconds", "For how long the decode that is running has been.", engine.decoding_s
        if wyoming is not None:
            yield "wyoming_connections", "Open Wyoming connections.", wyoming.connections

    def counters() -> Iterable[tuple[str, str, float]]:
        for name, value in asdict(ears.counters).items():
            yield f"ears_{name}", f"Of the eaRS server since its start: {name.replace('_', ' ')}.", value

    metrics = Metrics(__version__, lambda: engine.status, gauges, counters)

    def health() -> Answer:
        status = engine.status
        well = status.well and engine.running
        body = to_json({"well": well, "version": __version__, "text": status.line(), "model": status})
        return Answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, JSON, body.encode() + b"\n")

    return {"/health": health, "/metrics": lambda: Answer(HTTPStatus.OK, CONTENT_TYPE, metrics.text())}
