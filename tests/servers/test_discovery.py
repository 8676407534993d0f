"""Real multicast DNS on loopback: announced, found, renamed, updated, withdrawn; and no network at all."""

import asyncio
import contextlib
import errno
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import pytest
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from ears_edge.addresses import Interface
from ears_edge.config import ZeroconfConfig
from ears_edge.discovery import (
    FIRST_RETRY_S,
    LAST_RETRY_S,
    POLL_S,
    Advertiser,
    Announced,
    Found,
    Service,
    browse,
    join_multicast,
)

LOOPBACK = ("127.0.0.1",)
PATIENCE_S = 30.0
TEXT = {"path": "/", "protocol": "ears", "engine": "x", "model": "tiny", "tls": "false", "version": "1"}
LONG_TEXT = {"model": "ä" * 500}


class QuickZeroconf(AsyncZeroconf):
    """Announces at once. Zeroconf looks for others of the same name first, which takes it over a second."""

    async def async_register_service(
        self,
        info: ServiceInfo,
        ttl: int | None = None,
        allow_name_change: bool = False,  # noqa: FBT001, FBT002  # as zeroconf has it
        cooperating_responders: bool = False,  # noqa: ARG002, FBT001, FBT002  # as above
        strict: bool = True,  # noqa: FBT001, FBT002  # as above
    ) -> Awaitable[None]:
        return await super().async_register_service(
            info, ttl, allow_name_change, cooperating_responders=True, strict=strict
        )


def join_quickly(addresses: Sequence[str]) -> AsyncZeroconf:
    return QuickZeroconf(interfaces=list(addresses))


class Watch:
    """Keeps what an advertiser says; `until` waits for it."""

    def __init__(self) -> None:
        self.now: Sequence[Announced] = ()
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, announced: Sequence[Announced]) -> None:
        self.now = announced
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[Sequence[Announced]], bool]) -> Sequence[Announced]:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: condition(self.now))
            return self.now


class Ticks:
    """A clock for the advertiser: it sleeps until the test says go on."""

    def __init__(self) -> None:
        self.slept: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.put_nowait(seconds)
        await self._go.acquire()

    async def asleep(self) -> float:
        async with asyncio.timeout(PATIENCE_S):
            return await self.slept.get()

    def go_on(self) -> None:
        self._go.release()


@contextlib.asynccontextmanager
async def advertised(
    name: str,
    *,
    kinds: Iterable[str] = ("ears",),
    port: int = 8765,
    bound: tuple[str, ...] = LOOPBACK,
    interfaces: Callable[[], Sequence[Interface]] = lambda: [Interface("lo", LOOPBACK)],
    join: Callable[[Sequence[str]], AsyncZeroconf] = join_quickly,
    ticks: Ticks | None = None,
) -> AsyncIterator[Watch]:
    watch = Watch()
    services = [Service(kind="ears", port=port, bound=bound, text=TEXT)] if "ears" in kinds else []
    services += (
        [Service(kind="wyoming", port=port + 1, bound=bound, text=LONG_TEXT)] if "wyoming" in kinds else []
    )
    advertiser = Advertiser(
        lambda: services,
        ZeroconfConfig(name=name),
        host_name="ears-test-host",
        interfaces=interfaces,
        join=join,
        sleep=(ticks or Ticks()).sleep,
        changed=watch,
    )
    await advertiser.start()
    try:
        yield watch
    finally:
        await advertiser.close()
        await advertiser.close()


def fresh_name() -> str:
    return f"test {uuid.uuid4().hex[:12]}"


async def look_for(names: set[str], *, count: int) -> list[Found]:
    def mine(found: Sequence[Found]) -> list[Found]:
        return [service for service in found if service.name in names]

    return mine(await browse(PATIENCE_S, addresses=LOOPBACK, enough=lambda found: len(mine(found)) >= count))


async def test_both_services_are_found_as_announced_until_the_advertiser_closes() -> None:
    name = fresh_name()
    seen: dict[str, Found] = {}
    both = asyncio.Event()

    def enough(found: Sequence[Found]) -> bool:
        mine: dict[str, Found] = {service.kind: service for service in found if service.name == name}
        if len(mine) == 2:
            seen.update(mine)
            both.set()
        return both.is_set() and not mine

    async with advertised(name, kinds=("ears", "wyoming")) as watch:
        announced = await watch.until(bool)
        assert {(service.kind, service.name) for service in announced} == {("ears", name), ("wyoming", name)}
        search = asyncio.create_task(browse(PATIENCE_S, addresses=LOOPBACK, enough=enough))
        async with asyncio.timeout(PATIENCE_S):
            await both.wait()
    assert watch.now == ()
    # the goodbyes, and nothing else, end the search before its time
    assert name not in {service.name for service in await search}
    assert seen["ears"] == Found(
        kind="ears", name=name, host="ears-test-host.local", addresses=LOOPBACK, port=8765, text=TEXT
    )
    assert (seen["wyoming"].addresses, seen["wyoming"].port) == (LOOPBACK, 8766)
    assert seen["wyoming"].text == {"model": "ä" * 100}  # cut between two characters


async def test_of_two_with_one_name_the_second_is_renamed(caplog: pytest.LogCaptureFixture) -> None:
    name = fresh_name()
    renamed = False
    async with advertised(name, join=join_multicast) as first:
        await first.until(bool)
        while not renamed:  # a name is not defended within a second of being announced: python-zeroconf
            async with advertised(name, port=9000, join=join_multicast) as second:
                await second.until(bool)
                names = [first.now[0].name, second.now[0].name]
                renamed = names == [name, f"{name}-2"]
                if renamed:
                    found = await look_for(set(names), count=2)
    assert {service.port for service in found} == {8765, 9000}
    # else each would be found at the addresses of both
    assert {service.host for service in found} == {"ears-test-host.local", "ears-test-host-2.local"}
    assert "is called" in caplog.text


async def test_when_addresses_change_the_new_ones_are_announced() -> None:
    name = fresh_name()
    ticks = Ticks()
    has: list[Interface] = [Interface("lo", LOOPBACK)]
    wild = ("0.0.0.0",)  # noqa: S104  # not bound: stands for all
    async with advertised(name, bound=wild, interfaces=lambda: has, ticks=ticks) as watch:
        assert await ticks.asleep() == POLL_S
        assert watch.now[0].addresses == LOOPBACK
        before = watch.now
        ticks.go_on()
        await ticks.asleep()
        assert watch.now is before  # nothing changed, nothing is announced anew
        has[:] = [Interface("lo", ("127.0.0.1", "127.0.0.2"))]
        ticks.go_on()
        await ticks.asleep()
        (found,) = await look_for({name}, count=1)
        assert sorted(found.addresses) == ["127.0.0.1", "127.0.0.2"]
        has.clear()
        ticks.go_on()
        await ticks.asleep()
        assert not watch.now
        has[:] = [Interface("lo", LOOPBACK)]
        ticks.go_on()
        await ticks.asleep()
        assert watch.now[0].addresses == LOOPBACK


async def test_a_network_that_refuses_is_told_once_for_each_reason_and_tried_again_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forbidden, absent = OSError(errno.EPERM, os.strerror(errno.EPERM)), RuntimeError("no interfaces")
    refusals = iter([forbidden, forbidden, forbidden, absent, absent, absent])

    def join(addresses: Sequence[str]) -> AsyncZeroconf:
        for error in refusals:
            raise error
        return join_quickly(addresses)

    ticks = Ticks()
    with caplog.at_level(logging.WARNING, "ears_edge"):
        async with advertised(fresh_name(), join=join, ticks=ticks) as watch:
            waits = []
            for _ in range(6):
                waits.append(await ticks.asleep())
                assert not watch.now
                ticks.go_on()
            assert waits == [FIRST_RETRY_S, 10.0, 20.0, 40.0, LAST_RETRY_S, LAST_RETRY_S]
            assert await ticks.asleep() == POLL_S
            assert len(watch.now) == 1
    assert len([record for record in caplog.records if "will retry" in record.getMessage()]) == 2
    assert not any(record.exc_info for record in caplog.records)


async def test_an_advertiser_with_nothing_to_announce_or_never_started_closes() -> None:
    idle = Advertiser(list, ZeroconfConfig(), host_name="x")
    await idle.start()
    await idle.close()
    one = [Service(kind="ears", port=1, bound=LOOPBACK)]
    await Advertiser(lambda: one, ZeroconfConfig()).close()


async def test_an_advertiser_can_be_closed_while_it_announces() -> None:
    joined = asyncio.Event()

    def join(addresses: Sequence[str]) -> AsyncZeroconf:
        joined.set()
        return join_quickly(addresses)

    async with advertised(fresh_name(), join=join) as watch:
        await joined.wait()
    assert watch.now == ()


async def test_browsing_without_a_network_finds_nothing() -> None:
    def join(addresses: Sequence[str]) -> AsyncZeroconf:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), addresses[0])

    assert await browse(PATIENCE_S, join=join) == []


async def test_browsing_ends_when_its_time_is_over() -> None:
    assert await browse(0.01, addresses=LOOPBACK) == []
