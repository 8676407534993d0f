import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from ears_edge.errors import ConfigError
from ears_edge.servers.listening import Keys, listen
from tests.servers.ears_rig import ask, command, rig

KEYS = Keys("x.host", "x.port")


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost", "127.0.0.1"])  # noqa: S104  # what is tested
async def test_all_sockets_share_one_port(host: str) -> None:
    sockets = await listen(host, 0, KEYS)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert len({sock.family for sock in sockets}) == len(sockets)
    finally:
        for sock in sockets:
            sock.close()


async def test_a_taken_port_is_named(taken: int) -> None:
    with pytest.raises(ConfigError, match=f"port {taken} is taken by another program") as refused:
        await listen("127.0.0.1", taken, KEYS)
    assert refused.value.key == "x.port"


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 300, "a..b", "no such host"])
async def test_a_host_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await listen(host, 0, KEYS)
    assert refused.value.key == "x.host"


async def test_small_messages_are_not_held_back() -> None:
    async with rig() as it, it.connect() as client:
        await ask(client, command("restart"))
        [connection] = it.server._live
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
