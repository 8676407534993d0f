"""Counters and states in Prometheus's text format. The only module that imports prometheus_client.

Read when they are asked for: nothing is counted twice, and nothing costs anything in between.
"""

from collections.abc import Callable, Iterable
from typing import Final, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ears_edge.models.status import ModelStatus, Phase

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Source: Prometheus, exposition formats, text-based format."""
PREFIX: Final = "ears_edge"


class Metrics(Collector):
    """What is known of this daemon, as one page of text."""

    def __init__(
        self,
        version: str,
        status: Callable[[], ModelStatus],
        gauges: Callable[[], Iterable[tuple[str, str, float]]],
        counters: Callable[[], Iterable[tuple[str, str, float]]],
    ) -> None:
        """Prepare.

        Args:
            version: Ours.
            status: Of the model.
            gauges: Name without prefix, help and value of what goes up and down.
            counters: The same of what only grows.
        """
        self._version = version
        self._status = status
        self._gauges = gauges
        self._counters = counters
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """As prometheus_client asks."""
        status = self._status()
        yield InfoMetricFamily(PREFIX, "This daemon.", {"version": self._version})
        names = {"wanted": status.wanted, "serving": status.serving}
        yield InfoMetricFamily(f"{PREFIX}_model", "Which model is wanted, and which one serves.", names)
        phases = GaugeMetricFamily(
            f"{PREFIX}_model_phase", "1 for the phase that the wanted model is in.", labels=["phase"]
        )
        for phase in get_args(Phase):
            phases.add_metric([phase], float(phase == status.phase))
        yield phases
        bad = GaugeMetricFamily(
            f"{PREFIX}_model_bad", "1 if the wanted model failed or gave a wrong answer.", labels=["code"]
        )
        bad.add_metric([status.code], float(not status.well))
        yield bad
        progress = 1.0 if status.phase == "ready" else status.done or 0.0
        yield GaugeMetricFamily(f"{PREFIX}_model_progress_ratio", "Of the phase that it is in.", progress)
        for name, about, value in self._gauges():
            yield GaugeMetricFamily(f"{PREFIX}_{name}", about, value)
        for name, about, value in self._counters():
            yield CounterMetricFamily(f"{PREFIX}_{name}", about, value)
