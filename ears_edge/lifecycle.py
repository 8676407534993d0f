"""How a daemon lives: its parts are started, kept until somebody asks to stop, and ended in good order."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ears_edge.errors import ConfigError, UnavailableError
from ears_edge.systemd import Notifier

DRAIN_S: Final = 5.0
"""From the first signal to the end, at most."""
GRACE_S: Final = 3.5
"""The part of it in which utterances at hand are completed; goodbyes and closing take the rest."""
HURRY_S: Final = 0.5
"""What closing may take after the second signal."""

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
    settled: Callable[[], Awaitable[None]] | None = None
    """Waits until it can be said what serves. The servers listen meanwhile."""
    reload: Callable[[], None] | None = None
    """Called when SIGHUP asks for the settings to be read anew."""


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
    stop, hangup = Stop(), Hangup()
    with signals(stop, hangup):
        async with house as built:
            hangup.reload = built.reload
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
    tasks: list[asyncio.Future[Any]] = [asyncio.create_task(stop.asked.wait())]  # results are of no interest
    if house.done is not None:
        tasks.append(asyncio.ensure_future(house.done()))
    reasons = set(tasks)
    announcer: Announcer | None = None
    try:
        if house.settled is not None:
            settled = asyncio.ensure_future(house.settled())
            tasks.append(settled)
            await asyncio.wait({*reasons, settled}, return_when=asyncio.FIRST_COMPLETED)
        announcer = house.announcer()
        if announcer is not None:
            await announcer.start()
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


@dataclass(slots=True)
class Hangup:
    """What SIGHUP does to a daemon without a terminal."""

    reload: Callable[[], None] | None = None

    def __call__(self) -> None:
        """It has come."""
        if self.reload is None:
            logger.warning("SIGHUP has no effect now; send it again when the daemon has started")
        else:
            self.reload()


@contextmanager
def signals(stop: Stop, hangup: Hangup) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop, and so does SIGHUP when our terminal goes. Only on a running loop.

    To a daemon without a terminal, SIGHUP asks to read the settings anew.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    loop.add_signal_handler(signal.SIGHUP, stop.ask if sys.stderr.isatty() else hangup)
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
def termination_ends_us() -> Iterator[None]:
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
