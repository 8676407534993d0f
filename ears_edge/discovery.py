"""Zeroconf: the servers are announced on the LAN, and found there. The only module with zeroconf and ifaddr.

Source: RFC 6762 (multicast DNS), RFC 6763 (service discovery).
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import ifaddr
from zeroconf import Error, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ears_edge.addresses import Interface, host_label, instance_name, numbered, reachable
from ears_edge.config import ZeroconfConfig

Kind = Literal["wyoming", "ears"]

POLL_S: Final = 30.0
"""Between two looks at this machine's addresses."""
FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 60.0
"""Between two tries while the network refuses; doubled from the first to the last."""
CLOSE_S: Final = 2.0
"""What goodbyes may take; they need about 0.3 s."""
MAX_TEXT_BYTES: Final = 200
"""Longest value in a TXT record, whose limit is 255 bytes with its key. Source: RFC 6763, section 6.1."""
MAX_FOUND: Final = 256
"""Services that one browse looks at: anybody on the LAN can announce more."""

_REFUSALS: Final = (OSError, Error, RuntimeError, ValueError)
"""What python-zeroconf raises where there is no network, no multicast, or no right to use it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server to announce."""

    kind: Kind
    port: int
    bound: tuple[str, ...]
    """Numeric addresses it listens on; `0.0.0.0` and `::` stand for all."""
    text: Mapping[str, str] = field(default_factory=dict)
    """TXT record; values are cut to MAX_TEXT_BYTES."""


class Announced(NamedTuple):
    """A service as it is announced now."""

    kind: Kind
    name: str
    """Instance name; not the wanted one if that was taken."""
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A service that somebody announces."""

    kind: Kind
    name: str
    host: str
    """Host name, such as `kitchen.local`."""
    addresses: tuple[str, ...]
    port: int
    text: Mapping[str, str]


def system_interfaces() -> list[Interface]:
    """What this machine has now."""
    return [
        Interface(
            adapter.nice_name, tuple(ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips)
        )
        for adapter in ifaddr.get_adapters()
    ]


def join_multicast(addresses: Sequence[str]) -> AsyncZeroconf:
    """Open the sockets of multicast DNS on the interfaces with these addresses.

    Raises:
        OSError, RuntimeError: The system refuses.
    """
    return AsyncZeroconf(interfaces=list(addresses))


class Advertiser:
    """Keeps services announced until it is closed, whatever the network does meanwhile."""

    def __init__(
        self,
        services: Callable[[], Iterable[Service]],
        config: ZeroconfConfig,
        *,
        host_name: str | None = None,
        interfaces: Callable[[], Sequence[Interface]] = system_interfaces,
        join: Callable[[Sequence[str]], AsyncZeroconf] = join_multicast,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        changed: Callable[[Sequence[Announced]], None] = lambda _: None,
    ) -> None:
        """Announce nothing yet.

        Args:
            services: Tells what to announce; asked again and again, as what it tells of may change.
            config: Wanted name, and interfaces to keep to.
            host_name: This machine's; None asks the system.
            interfaces: Tells what this machine has.
            join: Opens multicast sockets.
            sleep: Waits so many seconds between two looks at the addresses, or two tries.
            changed: Is told what is announced whenever that has changed.
        """
        host = host_name if host_name is not None else socket.gethostname()
        self.name = instance_name(config.name, host)
        self._host = host_label(host)
        self._services = services
        self._only = config.interfaces
        self._interfaces = interfaces
        self._join = join
        self._sleep = sleep
        self._changed = changed
        self._zeroconf: AsyncZeroconf | None = None
        self._current: list[tuple[Service, tuple[str, ...]]] = []
        self._told = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to announce, in the background; never waits for the network and never fails."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="zeroconf")
            self._task.add_done_callback(_tell_defect)

    async def close(self) -> None:
        """Withdraw all services with goodbyes; idempotent; takes CLOSE_S at most."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._withdraw()

    async def _keep(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._refresh()
            except _REFUSALS as exc:
                self._tell(
                    f"can't announce the servers on the network ({exc or type(exc).__name__}); will retry"
                )
                await self._withdraw()
                await self._sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            else:
                retry_s = FIRST_RETRY_S
                await self._sleep(POLL_S)

    async def _refresh(self) -> None:
        """Announce anew if an address came or went, or what is told of a server has changed.

        All sockets are opened anew then: those there are may belong to an interface that is gone.
        """
        interfaces, services = self._interfaces(), tuple(self._services())
        if not services:
            return
        wanted = [
            (service, addresses)
            for service in services
            if (addresses := reachable(interfaces, service.bound, self._only))
        ]
        if wanted and wanted == self._current:
            return
        await self._withdraw()
        if not wanted:
            self._tell("this machine has no address to announce; waiting for one")
            return
        self._zeroconf = self._join(sorted({address for _, addresses in wanted for address in addresses}))
        tasks = (self._announce(self._zeroconf, service, addresses) for service, addresses in wanted)
        announced: list[Announced] = []
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            announced.append(outcome)
        self._current = wanted
        self._told = ""
        self._changed(announced)

    async def _announce(
        self, network: AsyncZeroconf, service: Service, addresses: tuple[str, ...]
    ) -> Announced:
        info = _info(service, addresses, self.name, self._host)
        broadcast = await network.async_register_service(info, allow_name_change=True)
        name = info.get_name()
        if name != self.name:
            # Whoever has our name may have our host name, too: under it, both machines' addresses would be
            # found. Nothing has gone out yet; and zeroconf looks for conflicts of instance names only.
            asyncio.ensure_future(broadcast).cancel()
            network.zeroconf.registry.async_remove(info)
            info = _info(service, addresses, name, numbered(self._host, name.removeprefix(self.name)))
            broadcast = await network.async_register_service(info, allow_name_change=True)
            name = info.get_name()
            logger.warning("somebody on the network is called %r already; announced as %r", self.name, name)
        await broadcast
        where = ", ".join(addresses)
        logger.info("announced %s as %r at %s port %d", service.kind, name, where, service.port)
        return Announced(service.kind, name, addresses, service.port)

    async def _withdraw(self) -> None:
        network, self._zeroconf = self._zeroconf, None
        if network is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await network.async_close()
        except _REFUSALS as exc:  # TimeoutError is an OSError
            logger.debug("goodbyes did not go out: %s", exc)
        if self._current:
            self._current = []
            self._changed(())

    def _tell(self, text: str) -> None:
        """Once, not at each retry."""
        logger.log(logging.DEBUG if text == self._told else logging.WARNING, "%s", text)
        self._told = text


async def browse(
    seconds: float,
    *,
    addresses: Sequence[str] | None = None,
    enough: Callable[[Sequence[Found]], bool] = lambda _: False,
    join: Callable[[Sequence[str]], AsyncZeroconf] = join_multicast,
) -> list[Found]:
    """Look for servers on the LAN.

    Args:
        seconds: How long to look.
        addresses: Of the interfaces to look on; None means all of this machine's.
        enough: Ends the search early; asked after each service found.
        join: Opens multicast sockets.

    Returns:
        Those announced when the search ended, in the order they were found; none if there is no network.
    """
    if addresses is None:
        interfaces = system_interfaces()
        wild = ("0.0.0.0", "::")  # noqa: S104  # not bound: stands for all
        addresses = sorted({*reachable(interfaces, wild), "127.0.0.1"})
    news: asyncio.Queue[tuple[Kind, str, bool]] = asyncio.Queue(MAX_FOUND)

    def heard(*, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        del zeroconf
        with contextlib.suppress(asyncio.QueueFull):
            kind: Kind = "wyoming" if service_type == _type("wyoming") else "ears"
            news.put_nowait((kind, name, state_change is not ServiceStateChange.Removed))

    found: dict[tuple[Kind, str], Found] = {}
    try:
        network = join(addresses)
    except _REFUSALS as exc:
        logger.info("can't look for servers on the network: %s", exc)
        return []
    browser = AsyncServiceBrowser(network.zeroconf, [_type("wyoming"), _type("ears")], handlers=[heard])
    try:
        async with asyncio.timeout(seconds):
            while not enough(list(found.values())):
                kind, name, is_there = await news.get()
                resolved = await _resolve(network, kind, name) if is_there else None
                if resolved is None:
                    found.pop((kind, name), None)
                elif len(found) < MAX_FOUND:
                    found[kind, name] = resolved
    except TimeoutError:
        pass
    finally:
        await browser.async_cancel()
        await network.async_close()
    return list(found.values())


async def _resolve(network: AsyncZeroconf, kind: Kind, name: str) -> Found | None:
    info = await network.async_get_service_info(_type(kind), name)
    if info is None or info.port is None:
        return None
    return Found(
        kind=kind,
        name=info.get_name(),
        host=(info.server or "").removesuffix("."),
        addresses=tuple(info.parsed_scoped_addresses()),
        port=info.port,
        text={key: value or "" for key, value in info.decoded_properties.items()},
    )


def _info(service: Service, addresses: tuple[str, ...], name: str, host: str) -> AsyncServiceInfo:
    type_ = _type(service.kind)
    return AsyncServiceInfo(
        type_,
        f"{name}.{type_}",
        port=service.port,
        properties={key: _cut(value) for key, value in service.text.items()},
        server=f"{host}.local.",
        parsed_addresses=list(addresses),
    )


def _type(kind: Kind) -> str:
    return f"_{kind}._tcp.local."


def _tell_defect(task: "asyncio.Task[None]") -> None:
    """Nobody waits for this task; should it end by itself, that is a defect of ours."""
    if not task.cancelled() and (defect := task.exception()):
        logger.error("the servers are no longer announced", exc_info=defect)


def _cut(value: str) -> bytes:
    return value.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").encode()
