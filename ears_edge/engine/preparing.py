"""Having a model ready on this machine: pulled, and its encoder rewritten. Runs as a process of its own.

`python -m ears_edge.engine.preparing` reads one `Order` as a line of JSON from standard input and writes
`Report`s, one a line, to standard output. It is a child of the daemon's (`preparation.py`), so that the
memory that a rewrite takes, and whatever goes wrong, end with it. It ends when its standard input does: with
the daemon, however that ends.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from ears_edge.asr.providers import CPU, PROVIDERS
from ears_edge.config import Config, EngineConfig, ModelConfig, ModelsConfig
from ears_edge.errors import EarsEdgeError, ModelNotFoundError, UnavailableError
from ears_edge.models import card, catalog
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import cache_folder
from ears_edge.models.status import Phase
from ears_edge.models.store import Store
from ears_edge.typed import parse_json_object, to_json, to_typed

if TYPE_CHECKING:
    from ears_edge.models.hub.client import Snapshot

NICENESS: Final = 10
"""Whoever speaks meanwhile goes first."""
STEP: Final = 0.01
"""Progress is told when this much more is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made ready."""

    model: ModelConfig
    models: ModelsConfig = field(default_factory=ModelsConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    pull: bool = False
    """Have it whole on this machine first."""
    optimize: bool = False
    """Rewrite its encoder, unless that was tried before."""
    compare: bool = False
    """Find out which device is the fastest, unless there is only one, or that is known."""

    @property
    def name(self) -> str:
        """As `model.name`."""
        return self.model.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One line of the child's."""

    phase: Phase
    """What is being done; `ready` at the end, `failed` if it can't be."""
    done: float | None = None
    """How much of the phase is done, from 0 to 1."""
    note: str = ""
    """For the log: whose model it is, that the hub is waited for, why the original encoder serves."""
    fault: str = ""
    code: str = ""
    later: bool = False
    """Whether the same may succeed later, without anybody's doing."""


Tell: TypeAlias = Callable[[Report], None]


def prepare(order: Order, tell: Tell, env: Mapping[str, str] = os.environ) -> None:
    """Carry an order out and tell how it goes; what goes wrong is a report as well. Blocks."""
    try:
        if order.pull:
            _pull(order, tell)
        if order.optimize:
            _optimize(order, tell, env)
        if order.compare:
            _compare(order, tell, env)
    except EarsEdgeError as exc:
        later = isinstance(exc, UnavailableError)
        tell(Report(phase="failed", fault=str(exc), code=exc.code, later=later))
    else:
        tell(Report(phase="ready"))


def _pull(order: Order, tell: Tell) -> None:
    # The hub's client is heavy, and an order to optimize does without.
    from ears_edge.models.hub.client import Hub  # noqa: PLC0415
    from ears_edge.models.pull import pull  # noqa: PLC0415  # needs it

    reference = catalog.find(order.name)
    if reference is None:
        raise ModelNotFoundError(f"{order.name!r} is no model that can be pulled.")
    tell(Report(phase="fetching"))
    with Hub(order.models, notice=lambda text: tell(Report(phase="fetching", note=text))) as hub:
        floats = order.model.device in PROVIDERS and PROVIDERS[order.model.device].floats != CPU.floats
        pull(Store(order.models), reference, hub, _Watch(reference, tell), floats=floats)


class _Watch:
    """Turns what a pull tells into reports."""

    def __init__(self, reference: catalog.Reference, tell: Tell) -> None:
        self._reference = reference
        self._tell = tell
        self._total = 0
        self._told = -STEP

    def checking(self, done: int, total: int) -> None:
        """See `pull.Watch`; that is quick, and no progress of the fetch."""

    def begin(self, snapshot: "Snapshot", total: int) -> None:
        """See `pull.Watch`."""
        for line in card.attribution(self._reference, snapshot.licence):
            self._tell(Report(phase="fetching", note=line))
        self._total = total

    def fetched(self, done: int) -> None:
        """See `pull.Watch`."""
        part = min(done / self._total, 1.0) if self._total else 1.0
        if part >= self._told + STEP:
            self._told = part
            self._tell(Report(phase="fetching", done=part))


def _optimize(order: Order, tell: Tell, env: Mapping[str, str]) -> None:
    # Not before there is a model to load: this brings onnxruntime.
    from ears_edge.engine.optimize import longest_window_s, optimize  # noqa: PLC0415

    folder = ModelFolder.open(resolve(order.name, order.models))
    tell(Report(phase="optimizing"))
    verdict = optimize(folder, cache_folder(env), window_s=longest_window_s(order.engine))
    if verdict.encoder is None:
        note = f"{order.name} is not optimized, so its own encoder serves: {verdict.fault}"
        tell(Report(phase="optimizing", note=note))


def _compare(order: Order, tell: Tell, env: Mapping[str, str]) -> None:
    from ears_edge.engine import devices  # noqa: PLC0415  # as above

    config = Config(model=order.model, models=order.models, engine=order.engine)
    folder = ModelFolder.open(resolve(order.name, order.models))
    if not devices.undecided(folder, config, env):
        return
    tell(Report(phase="comparing"))
    found = devices.compare(folder, config, env)
    if found is not None:
        tell(
            Report(
                phase="comparing", note=f"{order.name} runs on {found.best}: the fastest that hears the same"
            )
        )


def _end_with_our_parent() -> None:
    """Return when standard input has ended: nobody wants what we do any more."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


def main() -> None:
    """Read the order, carry it out, report."""
    order = to_typed(parse_json_object(sys.stdin.buffer.readline()), Order)
    threading.Thread(target=_end_with_our_parent, daemon=True).start()
    os.nice(NICENESS)

    def tell(report: Report) -> None:
        sys.stdout.write(to_json(report) + "\n")
        sys.stdout.flush()

    prepare(order, tell)
    os._exit(0)  # the thread that waits for our parent would be waited for by nobody


if __name__ == "__main__":
    main()
