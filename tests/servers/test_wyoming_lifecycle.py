"""Where the server listens, and how it ends."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest
from wyoming.asr import Transcript
from wyoming.ping import Ping

from ears_edge.config import WyomingConfig
from ears_edge.errors import ConfigError
from ears_edge.servers.wyoming import WyomingServer
from tests.servers.wyoming_fakes import START, STOP, Client, FakeEngine, chunk, utterance


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


async def works(uri: str) -> None:
    async with await Client.to(uri) as client:
        await client.send(utterance())
        assert (await client.until("transcript-stop"))[-2].data["text"] == "heard 640 bytes"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1:0",
        pytest.param(
            "tcp://[::1]:0", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
        ),
    ],
)
async def test_addresses_name_the_real_port(uri: str, engine: FakeEngine) -> None:
    server = WyomingServer(WyomingConfig(uri=uri), engine)
    assert not server.addresses
    async with server:
        [address] = server.addresses
        assert address.startswith(uri[:-1])
        assert not address.endswith(":0")
        await works(address)
    assert not server.addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])  # noqa: S104  # what is tested
async def test_every_address_means_those_of_both_families(host: str, engine: FakeEngine) -> None:
    async with WyomingServer(WyomingConfig(uri=f"tcp://{host}:0"), engine) as server:
        [port] = {address.rpartition(":")[2] for address in server.addresses}
        assert len(server.addresses) == 1 + has_ipv6()
        await works(f"tcp://127.0.0.1:{port}")
        if has_ipv6():
            await works(f"tcp://[::1]:{port}")


def test_a_uri_that_cannot_be_read_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as caught:
        WyomingServer(WyomingConfig(uri="127.0.0.1:10300"), None)  # type: ignore[arg-type]  # it gets no further
    assert caught.value.key == "wyoming.uri"


async def test_a_port_that_is_taken_is_a_config_error(engine: FakeEngine) -> None:
    async with WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine) as server:
        with pytest.raises(ConfigError, match=r"port [0-9]+ is taken") as caught:
            await WyomingServer(WyomingConfig(uri=server.addresses[0]), engine).start()
        assert caught.value.key == "wyoming.uri"


async def test_a_unix_socket_is_for_owner_and_group_and_is_removed_at_the_end(
    tmp_path: Path, engine: FakeEngine
) -> None:
    path = tmp_path / "ears.sock"
    async with WyomingServer(WyomingConfig(uri=f"unix://{path}"), engine) as server:
        assert server.addresses == (f"unix://{path}",)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        await works(server.addresses[0])
    assert not path.exists()


async def test_a_socket_file_without_a_server_is_replaced(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "ears.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    async with WyomingServer(WyomingConfig(uri=f"unix://{path}"), engine) as server:
        await works(server.addresses[0])


async def test_a_live_servers_socket_is_left_alone(tmp_path: Path, engine: FakeEngine) -> None:
    config = WyomingConfig(uri=f"unix://{tmp_path}/ears.sock")
    async with WyomingServer(config, engine) as server:
        second = WyomingServer(config, engine)
        with pytest.raises(ConfigError, match="another server listens"):
            await second.start()
        await second.close()
        await works(server.addresses[0])


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "letter"
    path.write_text("dear all")
    with pytest.raises(ConfigError, match="not a socket"):
        await WyomingServer(WyomingConfig(uri=f"unix://{path}"), engine).start()
    assert path.read_text() == "dear all"


@pytest.mark.parametrize("path", ["missing/ears.sock", "x" * 150], ids=["no folder", "too long"])
async def test_a_path_that_cannot_be_used_is_a_config_error(
    path: str, tmp_path: Path, engine: FakeEngine
) -> None:
    with pytest.raises(ConfigError, match="can't listen"):
        await WyomingServer(WyomingConfig(uri=f"unix://{tmp_path}/{path}"), engine).start()


async def test_another_servers_socket_in_our_place_is_not_removed(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "ears.sock"
    async with WyomingServer(WyomingConfig(uri=f"unix://{path}"), engine):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


class Pipes:
    """Both ends of a server's standard input and output."""

    def __init__(self) -> None:
        self.stdin, self.to_server = os.pipe()
        self.from_server, self.stdout = os.pipe()

    async def client(self) -> Client:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self.from_server, "rb", 0)
        )
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(self.to_server, "wb", 0)
        )
        return Client(reader, asyncio.StreamWriter(transport, protocol, None, loop))

    def close(self) -> None:
        os.close(self.stdin)
        os.close(self.stdout)


async def test_over_stdio_one_connection_is_served_until_its_end(engine: FakeEngine) -> None:
    pipes = Pipes()
    server = WyomingServer(WyomingConfig(uri="stdio://"), engine, stdio=(pipes.stdin, pipes.stdout))
    async with server, await pipes.client() as client:
        assert server.addresses == ("stdio://",)
        await client.send(utterance())
        assert (await client.until("transcript-stop"))[-2].data["text"] == "heard 640 bytes"
        await client.send(utterance(960), b"")
        client.writer.close()
        # The end of the input right after the audio: all is answered first.
        messages = [await client.read() for _ in range(6)]
        assert Transcript("heard 960 bytes", language="en").event() in messages
        await server.wait_done()
        assert os.get_blocking(pipes.stdin)
        assert os.get_blocking(pipes.stdout)
        pipes.close()
        assert await client.read() is None


async def test_stdio_needs_pipes(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "frames"
    path.write_bytes(b"")
    file, null = os.open(path, os.O_RDWR), os.open(os.devnull, os.O_RDWR)
    try:
        with pytest.raises(ConfigError, match="needs pipes"):
            await WyomingServer(WyomingConfig(uri="stdio://"), engine, stdio=(file, file)).start()
        with pytest.raises(ConfigError, match="needs pipes"):
            await WyomingServer(WyomingConfig(uri="stdio://"), engine, stdio=(-1, -1)).start()
        with pytest.raises(ConfigError, match=r"needs pipes.* a device, but no terminal"):
            await WyomingServer(WyomingConfig(uri="stdio://"), engine, stdio=(null, null)).start()
    finally:
        os.close(file)
        os.close(null)


async def test_utterances_at_hand_are_completed_before_the_end(engine: FakeEngine) -> None:
    async with (
        WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine) as server,
        await Client.to(server.addresses[0]) as idle,
        await Client.to(server.addresses[0]) as client,
    ):
        address = server.addresses[0]
        await idle.send(Ping("x"))
        await idle.until("pong")
        await client.send(START, chunk())
        await engine.feeding.wait()
        closing = asyncio.create_task(server.close(grace=60))
        assert await idle.rest() == []
        with pytest.raises(ConnectionRefusedError):
            await Client.to(address)
        await client.send(chunk(), STOP)
        messages = await client.rest()
        assert messages[-2].data["text"] == "heard 640 bytes"
        assert messages[-1].type == "transcript-stop"
        client.abort()
        await closing


async def test_without_grace_an_utterance_at_hand_is_cut_with_an_error(engine: FakeEngine) -> None:
    engine.decoded.clear()
    async with (
        WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine) as server,
        await Client.to(server.addresses[0]) as client,
    ):
        await client.send(utterance())
        await engine.decoding.wait()
        await server.close()
        messages = await client.rest()
        assert messages[-1].data["code"] == "shutting-down"
        assert "transcript" not in [message.type for message in messages]
        assert not engine.open_streams
        assert server.connections == 0


async def test_closing_twice_or_before_the_start_is_no_matter(engine: FakeEngine) -> None:
    server = WyomingServer(WyomingConfig(uri="tcp://127.0.0.1:0"), engine)
    await server.close()
    await server.close(grace=1)
    await server.wait_done()
