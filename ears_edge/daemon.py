"""The composition root: builds the parts, and says what listens where."""

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Final

from ears_edge import __version__, log, welcome
from ears_edge.config import Config
from ears_edge.control import socket_path
from ears_edge.discovery import Advertiser, Kind, Service, system_interfaces
from ears_edge.engine import loading
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.self_test import Verdict
from ears_edge.engine.supply import Load, ModelSupply
from ears_edge.errors import UnavailableError
from ears_edge.lifecycle import House, serve, termination_ends_us
from ears_edge.models.folder import ModelInfo
from ears_edge.pages import pages
from ears_edge.servers.control import ControlServer
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.pidfile import AlreadyRunningError, pid_file, pid_file_path, release
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.settings import Settings
from ears_edge.systemd import Notifier
from ears_edge.terminal import Terminal, console, plain
from ears_edge.uri import TcpAddress, listen_address
from ears_edge.wishes import Wishes

MAX_DECODE_S: Final = 120.0
"""A decode of one window that takes longer hangs: even slow machines need a few seconds for it."""

TRUSTED: Final = Verdict("not judged")
"""Of a model that a caller brings along."""

logger = logging.getLogger(__name__)


def run(
    config: Config,
    env: Mapping[str, str] = os.environ,
    *,
    load: Load | None = None,
    reread: Callable[[], Settings] | None = None,
) -> int:
    """Serve until a signal asks to end, then return the exit status.

    If a decode is still running when the time to end is up, it ends the process itself.

    Args:
        config: The settings.
        env: The environment.
        load: Gives the model, which is then trusted; None means `engine.loading` and the self-test.
        reread: Reads the settings anew, when SIGHUP asks for that.

    Raises:
        ModelError: There is no such model.
        UnavailableError: A port or the PID file is taken.
    """
    log.set_up(config.log.level)
    notifier = Notifier(env)
    try:
        with termination_ends_us(), _claimed_pid_file(config, env) as give_back:
            notifier.tell("STATUS", f"loading the model {config.model.name}")
            loading.exists(config)

            def leave() -> None:
                give_back()
                os._exit(0)

            house = build(config, env, load=load, reread=reread, told=partial(notifier.tell, "STATUS"))
            asyncio.run(serve(house, notifier, leave))
    finally:
        notifier.close()
    return 0


def program(argv0: str, path: str | None) -> str:
    """How a user calls us from here: by our name if that is found, else by the path we were called by."""
    return "ears-edge" if shutil.which("ears-edge", path=path) or not argv0.endswith("ears-edge") else argv0


@asynccontextmanager
async def build(
    config: Config,
    env: Mapping[str, str] = os.environ,
    *,
    load: Load | None = None,
    reread: Callable[[], Settings] | None = None,
    terminal: Terminal | None = None,
    told: Callable[[str], None] = lambda _line: None,
) -> AsyncIterator[House]:
    """The real parts; the engine and the supply of models live as long as the block, the servers wait.

    Args:
        config: The settings.
        env: The environment.
        load: As for `run`.
        reread: As for `run`.
        terminal: Where the user is told; None means standard error.
        told: Takes a line for the service manager whenever it stands otherwise with the model.
    """
    wanted = ModelInfo(name=config.model.name, languages=config.model.languages)
    async with Engine(None, config.engine, model=wanted) as engine, _supplied(engine, config, load) as supply:
        wishes = Wishes(supply, reread)
        telling = asyncio.create_task(_tell_changes(supply, told))
        wyoming = WyomingServer(config.wyoming, engine) if config.wyoming.enabled else None
        ears = EarsServer(config.ears, engine) if config.ears.enabled else None
        if ears is not None:
            ears.pages.update(pages(engine, ears, wyoming))
        control = _control(config, env, wishes)

        def listening() -> list[welcome.Listening]:
            return [*_wyoming_listening(wyoming), *_ears_listening(ears)]

        def services() -> list[Service]:
            return [_service(server, engine.model) for server in listening() if server.scheme]

        advertisers: list[Advertiser] = []

        def announcer() -> Advertiser | None:
            if not config.zeroconf.enabled:
                return None
            advertisers.append(Advertiser(services, config.zeroconf))
            return advertisers[0]

        def ready() -> str:
            name = advertisers[0].name if advertisers else None
            interfaces = system_interfaces()
            servers = listening()
            lines = welcome.lines(
                __version__,
                model=engine.model,
                status=engine.status,
                wanted=config.model.name,
                servers=servers,
                interfaces=interfaces,
                instance=name,
                program=program(sys.argv[0], os.environ.get("PATH")),
            )
            with suppress(OSError):  # nobody reads standard error any more
                _say(lines, terminal or console())
            where = ", ".join(uri for server in servers for uri in server.uris(interfaces)[:1])
            return f"model {engine.status.line()}, at {where}"

        try:
            yield House(
                servers=[server for server in (wyoming, ears, control) if server is not None],
                announcer=announcer,
                ready=ready,
                alive=lambda: engine.running and engine.decoding_s < MAX_DECODE_S,
                done=wyoming.wait_done if wyoming is not None and wyoming.over_stdio else None,
                settled=supply.settled,
                reload=wishes.reload,
            )
        finally:
            telling.cancel()
            await asyncio.wait([telling])
            await wishes.close()


@asynccontextmanager
async def _supplied(engine: Engine, config: Config, load: Load | None) -> AsyncIterator[ModelSupply]:
    """A supply that is at work."""
    if load is None:
        supply = ModelSupply(engine, config)
    else:
        survey = loading.Survey(info=engine.model)
        supply = ModelSupply(engine, config, load=load, test=lambda _: TRUSTED, survey=lambda _: survey)
    running = asyncio.create_task(supply.run(), name="model supply")
    try:
        yield supply
    finally:
        running.cancel()
        await asyncio.wait([running])
        await supply.close()


async def _tell_changes(supply: ModelSupply, told: Callable[[str], None]) -> None:
    while True:
        await supply.change()
        told(f"model {supply.status.line()}")


def _control(config: Config, env: Mapping[str, str], wishes: Wishes) -> ControlServer | None:
    path = socket_path(config.control, env) if config.control.enabled else None
    return ControlServer(path, wishes) if path is not None else None


@contextmanager
def _claimed_pid_file(config: Config, env: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """Hold the PID file, if one is wanted; gives a function that removes it before the end of the block."""
    wanted = config.ears.enabled and config.ears.pid_file
    path = _pid_file_path(env) if wanted else None
    try:
        with pid_file(path) if path is not None else nullcontext():
            yield (lambda: None) if path is None else partial(release, path, os.getpid())
    except AlreadyRunningError as exc:
        advice = "stop it, or set ears.pid_file = false if both shall run"
        raise UnavailableError(f"{exc}, says {exc.path}; {advice}") from exc


def _pid_file_path(env: Mapping[str, str]) -> Path | None:
    try:
        return pid_file_path(env, Path.home())
    except RuntimeError:  # a user without a home, as containers have
        logger.info("no PID file: this user has no home")
        return None


def _wyoming_listening(server: WyomingServer | None) -> Iterator[welcome.Listening]:
    addresses = [listen_address(uri) for uri in server.addresses] if server is not None else []
    match addresses:
        case [TcpAddress(port=port), *_]:
            bound = tuple(address.host for address in addresses if isinstance(address, TcpAddress))
            yield welcome.Listening(name="Wyoming", scheme="tcp", bound=bound, port=port)
        case [address]:
            yield welcome.Listening(name="Wyoming", scheme=None, uri=str(address))


def _ears_listening(server: EarsServer | None) -> Iterator[welcome.Listening]:
    if server is not None and server.addresses:
        bound = tuple(host for host, _ in server.addresses)
        yield welcome.Listening(name="eaRS", scheme="ws", bound=bound, port=server.addresses[0][1])


def _service(server: welcome.Listening, model: ModelInfo) -> Service:
    kind: Kind = "ears" if server.scheme == "ws" else "wyoming"
    text = {
        "protocol": kind,
        "engine": "parakeet",
        "model": model.name,
        "tls": "false",
        "version": __version__,
    }
    if kind == "ears":
        text["path"] = "/"
    return Service(kind=kind, port=server.port, bound=server.bound, text=text)


def _say(lines: Sequence[tuple[str, str]], terminal: Terminal) -> None:
    for label, text in lines:
        terminal.say(
            f"[bold cyan]{label:>9}[/bold cyan]  {plain(text)}" if label else f"{'':>9}  {plain(text)}"
        )
