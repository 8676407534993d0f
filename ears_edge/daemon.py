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
from ears_edge.discovery import Advertiser, Kind, Service, system_interfaces
from ears_edge.engine import loading
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.scheduler import Engine
from ears_edge.errors import UnavailableError
from ears_edge.lifecycle import House, serve, termination_ends_us
from ears_edge.models.folder import ModelInfo
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.pidfile import AlreadyRunningError, pid_file, pid_file_path, release
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.systemd import Notifier
from ears_edge.terminal import Terminal, console, plain
from ears_edge.uri import TcpAddress, listen_address

MAX_DECODE_S: Final = 120.0
"""A decode of one window that takes longer hangs: even slow machines need a few seconds for it."""

logger = logging.getLogger(__name__)


def run(
    config: Config,
    env: Mapping[str, str] = os.environ,
    *,
    load: Callable[[Config], Recognizer] | None = None,
) -> int:
    """Serve until a signal asks to end, then return the exit status.

    If a decode is still running when the time to end is up, it ends the process itself.

    Args:
        config: The settings.
        env: The environment.
        load: Gives the model; None means `engine.loading`.

    Raises:
        ModelError: The model can't be loaded.
        UnavailableError: A port or the PID file is taken.
    """
    log.set_up(config.log.level)
    notifier = Notifier(env)
    try:
        with termination_ends_us(), _claimed_pid_file(config, env) as give_back:
            notifier.tell("STATUS", f"loading the model {config.model.name}")
            recognizer = (load or loading.load)(config)

            def leave() -> None:
                give_back()
                os._exit(0)

            asyncio.run(serve(build(config, recognizer), notifier, leave))
    finally:
        notifier.close()
    return 0


def program(argv0: str, path: str | None) -> str:
    """How a user calls us from here: by our name if that is found, else by the path we were called by."""
    return "ears-edge" if shutil.which("ears-edge", path=path) or not argv0.endswith("ears-edge") else argv0


@asynccontextmanager
async def build(
    config: Config, recognizer: Recognizer, terminal: Terminal | None = None
) -> AsyncIterator[House]:
    """The real parts, not yet started; the engine's threads end with the block.

    Args:
        config: The settings.
        recognizer: The loaded model.
        terminal: Where the user is told; None means standard error.
    """
    async with Engine(recognizer, config.engine) as engine:
        wyoming = WyomingServer(config.wyoming, engine) if config.wyoming.enabled else None
        ears = EarsServer(config.ears, engine) if config.ears.enabled else None

        def listening() -> list[welcome.Listening]:
            return [*_wyoming_listening(wyoming), *_ears_listening(ears)]

        advertisers: list[Advertiser] = []

        def announcer() -> Advertiser | None:
            if not config.zeroconf.enabled:
                return None
            services = [_service(server, engine.model) for server in listening() if server.scheme]
            advertisers.append(Advertiser(services, config.zeroconf))
            return advertisers[0]

        def ready() -> str:
            name = advertisers[0].name if advertisers else None
            interfaces = system_interfaces()
            servers = listening()
            lines = welcome.lines(
                __version__,
                model=engine.model,
                wanted=config.model.name,
                servers=servers,
                interfaces=interfaces,
                instance=name,
                program=program(sys.argv[0], os.environ.get("PATH")),
            )
            with suppress(OSError):  # nobody reads standard error any more
                _say(lines, terminal or console())
            where = ", ".join(uri for server in servers for uri in server.uris(interfaces)[:1])
            return f"model {engine.model.name} serves at {where}"

        yield House(
            servers=[server for server in (wyoming, ears) if server is not None],
            announcer=announcer,
            ready=ready,
            alive=lambda: engine.running and engine.decoding_s < MAX_DECODE_S,
            done=wyoming.wait_done if wyoming is not None and wyoming.over_stdio else None,
        )


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
