"""The composition root: builds the parts, starts them, and ends them in good order."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from ears_edge import __version__, log, welcome
from ears_edge.config import Config
from ears_edge.discovery import Advertiser, Kind, Service, system_interfaces
from ears_edge.engine import loading
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.scheduler import Engine
from ears_edge.errors import ConfigError, UnavailableError
from ears_edge.models.folder import ModelInfo
from ears_edge.servers.ears import EarsServer
from ears_edge.servers.pidfile import AlreadyRunningError, pid_file, pid_file_path, release
from ears_edge.servers.wyoming import WyomingServer
from ears_edge.systemd import Notifier
from ears_edge.terminal import Terminal, console, plain
from ears_edge.uri import TcpAddress, listen_address

DRAIN_S: Final = 5.0
"""From the first signal to the end, at most."""
GRACE_S: Final = 3.5
"""The part of it in which utterances at hand are completed; goodbyes and closing take the rest."""
HURRY_S: Final = 0.5
"""What closing may take after the second signal."""
MAX_DECODE_S: Final = 120.0
"""A decode of one window that takes longer hangs: even slow machines need a few seconds for it."""

logger = logging.getLogger(__name__)


class Server(Protocol):
    """What can be started and ended."""

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: The address can't be used.
        """

    async def close(self, grace_s: float, /) -> None:
        """Stop accepting, give sessions so many seconds, then end; may be cancelled and called again."""


class Announcer(Protocol):
    """What tells the network, as `discovery.Advertiser` does."""

    async def start(self) -> None:
        """Begin; never fails."""

    async def close(self) -> None:
        """Withdraw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the daemon consists of, once the model is there."""

    servers: Sequence[Server]
    announcer: Callable[[], Announcer | None]
    """Called when the servers have started: only then are their ports known."""
    ready: Callable[[], str]
    """Called when all has started: tells the user, and returns one line for the service manager."""
    alive: Callable[[], bool] = lambda: True
    """Whether the engine works; while it does not, the service manager's watchdog is not fed."""
    done: Callable[[], Awaitable[None]] | None = None
    """Waits until there is nothing left to serve, such as the end of standard input."""


class Stop:
    """The wish that the daemon ends: once in good order, twice at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.asked_again = asyncio.Event()
        self.ends_at: float | None = None
        """When all has to be over, by the loop's clock; None until it is known that there is an end."""

    def ask(self) -> None:
        """Another wish."""
        (self.asked_again if self.asked.is_set() else self.asked).set()
        self.begin()

    def begin(self) -> None:
        """The end begins now, if it has not: there was a wish, or nothing is left to serve."""
        if self.ends_at is None:
            self.ends_at = asyncio.get_running_loop().time() + DRAIN_S


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
        with _termination_ends_us(), _claimed_pid_file(config, env) as give_back:
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


async def serve(
    house: AbstractAsyncContextManager[House],
    notifier: Notifier,
    leave: Callable[[], None],
) -> None:
    """Keep a house until a signal asks to stop, then leave it.

    Args:
        house: The parts; leaving it waits for a decode that is running.
        notifier: Tells the service manager.
        leave: Ends the process. Called if the house can't be left in time: a thread can't be stopped.

    Raises:
        UnavailableError: A server can't listen.
    """
    stop = Stop()
    with signals(stop):
        async with house as built:
            await keep(built, stop, notifier)
            late = asyncio.create_task(_leave_when_late(stop, leave))
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    logger.info("stopped")


async def keep(house: House, stop: Stop, notifier: Notifier) -> None:
    """Start the parts, serve until asked to stop, end the parts.

    Raises:
        UnavailableError: A server can't listen; those before it have been closed again.
    """
    try:
        for server in house.servers:
            await _start(server)
    except UnavailableError:
        await _close(house.servers, None, 0.0)
        raise
    announcer = house.announcer()
    if announcer is not None:
        await announcer.start()
    tasks: list[asyncio.Future[Any]] = [asyncio.create_task(stop.asked.wait())]  # results are of no interest
    if house.done is not None:
        tasks.append(asyncio.ensure_future(house.done()))
    reasons = set(tasks)
    try:
        notifier.tell("STATUS", house.ready())
        notifier.tell("READY")
        if notifier.watchdog_s is not None:
            tasks.append(asyncio.create_task(_feed_watchdog(notifier, notifier.watchdog_s, house.alive)))
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        notifier.tell("STOPPING")
        notifier.tell("STATUS", "completing what is being said")
        logger.info("stopping: utterances at hand are completed; a second signal stops at once")
    finally:
        await _drain(house.servers, announcer, stop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop, and so does SIGHUP when our terminal goes. Only on a running loop.

    To a daemon without a terminal, SIGHUP asks to read the settings anew: it is told to be without effect.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    if sys.stderr.isatty():
        loop.add_signal_handler(signal.SIGHUP, stop.ask)
    else:
        loop.add_signal_handler(
            signal.SIGHUP,
            lambda: logger.warning("SIGHUP has no effect; restart the daemon to read the settings anew"),
        )
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _leave_when_late(stop: Stop, leave: Callable[[], None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout_at(stop.ends_at):
            await stop.asked_again.wait()
            await asyncio.sleep(HURRY_S)
    logger.warning("stopped, though a decode is still running")
    leave()


async def _start(server: Server) -> None:
    try:
        await server.start()
    except ConfigError as exc:
        raise UnavailableError(str(exc)) from exc


async def _drain(servers: Sequence[Server], announcer: Announcer | None, stop: Stop) -> None:
    """End all parts within DRAIN_S; at once if asked again."""
    stop.begin()
    closing = asyncio.ensure_future(_close(servers, announcer, GRACE_S))
    hurry = asyncio.create_task(stop.asked_again.wait())
    await asyncio.wait({closing, hurry}, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
    if not closing.done():
        logger.warning("stopping now: what is not completed is cut")
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        await _close(servers, announcer, 0.0)
    hurry.cancel()
    await asyncio.gather(closing, hurry, return_exceptions=True)


async def _close(servers: Sequence[Server], announcer: Announcer | None, grace_s: float) -> None:
    withdrawing = [announcer.close()] if announcer is not None else []
    await asyncio.gather(*(server.close(grace_s) for server in servers), *withdrawing)


async def _feed_watchdog(notifier: Notifier, watchdog_s: float, alive: Callable[[], bool]) -> None:
    well = True
    while True:
        was_well, well = well, alive()
        if well:
            notifier.tell("WATCHDOG")
        elif was_well:
            logger.error("the engine hangs: the service manager's watchdog is told nothing until it goes on")
        await asyncio.sleep(watchdog_s / 2)


@contextmanager
def _termination_ends_us() -> Iterator[None]:
    """While there is no event loop yet, SIGTERM and SIGINT end us so that what was taken is given back."""

    def end(_number: int, _frame: object) -> None:
        sys.exit(0)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, end),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
