"""A daemon that is well, one that is not, and none at all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ears_edge import health
from ears_edge.config import Config, EarsConfig, WyomingConfig
from ears_edge.errors import ConfigError, UnavailableError
from ears_edge.models.folder import ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.typed import to_json
from ears_edge.wire.wyoming import info

PATIENCE_S = 30.0


@contextmanager
def answering(sock: socket.socket, answer: bytes, *, wait: bool = False) -> Iterator[list[bytes]]:
    """A server for one connection: reads one block, answers, and closes, or first waits for the client."""
    heard: list[bytes] = []
    sock.listen()

    def serve() -> None:
        connection, _ = sock.accept()
        with connection:
            heard.append(connection.recv(4096))
            connection.sendall(answer)
            if wait:
                connection.recv(4096)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        thread.join(PATIENCE_S)


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def wyoming(port: int, host: str = "127.0.0.1") -> Config:
    return Config(wyoming=WyomingConfig(uri=f"tcp://{host}:{port}"))


def ears(port: int) -> Config:
    return Config(wyoming=WyomingConfig(enabled=False), ears=EarsConfig(port=port))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # not bound
def test_a_wyoming_server_that_describes_itself_is_well(tcp: socket.socket, host: str) -> None:
    port = tcp.getsockname()[1]
    with answering(tcp, b'{"type": "info", "data_length": 100}\n') as heard:
        assert health.check(wyoming(port, host), PATIENCE_S).well
    assert heard == [b'{"type":"describe"}\n']


def test_a_wyoming_server_on_a_unix_socket_is_asked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        with answering(sock, b'{"type":"info"}\n'):
            config = Config(wyoming=WyomingConfig(uri=f"unix://{tmp_path}/s"))
            assert "is well" in health.check(config, PATIENCE_S).text


def test_without_wyoming_the_ears_server_is_asked(tcp: socket.socket) -> None:
    with answering(tcp, b"HTTP/1.1 426 Upgrade Required\r\n\r\n"):
        assert "is well" in health.check(ears(tcp.getsockname()[1]), PATIENCE_S).text


BAD = ModelStatus(wanted="a", serving="b", phase="failed", fault="it is bad", code="model-self-test")
ON_ITS_WAY = ModelStatus(wanted="a", serving="b", phase="fetching", done=0.5)


@pytest.mark.parametrize("status", [BAD, ON_ITS_WAY])
def test_how_it_stands_with_the_model_counts(tcp: socket.socket, status: ModelStatus) -> None:
    port = tcp.getsockname()[1]
    with answering(tcp, info(ModelInfo(name="a"), status)):
        found = health.check(wyoming(port), PATIENCE_S)
    assert (found.well, found.model) == (status is ON_ITS_WAY, status)
    assert status.line() in found.text
    page = b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + to_json({"model": status}).encode()
    with answering(tcp, page):
        assert health.check(ears(port), PATIENCE_S).model == status


@pytest.mark.parametrize("answer", [b"", b"hello\n", b'{"type":"error"}\n', b"[]\n", b"\xff" * 100_000])
def test_another_program_at_the_port_is_not_taken_for_ours(tcp: socket.socket, answer: bytes) -> None:
    port = tcp.getsockname()[1]
    with answering(tcp, answer[:60_000]), pytest.raises(UnavailableError, match="not as a Wyoming server"):
        health.check(wyoming(port), PATIENCE_S)
    with answering(tcp, answer[:60_000]), pytest.raises(UnavailableError, match="not as an eaRS server"):
        health.check(ears(port), PATIENCE_S)


def test_a_server_that_says_nothing_is_not_well(tcp: socket.socket) -> None:
    with answering(tcp, b"", wait=True), pytest.raises(UnavailableError, match=r"no answer within 0\.1 s"):
        health.check(wyoming(tcp.getsockname()[1]), 0.1)


def test_nobody_there_is_told_with_what_to_look_for(tcp: socket.socket, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"refused; is the daemon running\?"):
        health.check(wyoming(tcp.getsockname()[1]), PATIENCE_S)
    with pytest.raises(UnavailableError, match="No such file"):
        health.check(Config(wyoming=WyomingConfig(uri=f"unix://{tmp_path}/none")), PATIENCE_S)


def test_a_server_over_stdio_cannot_be_asked(tcp: socket.socket) -> None:
    stdio = WyomingConfig(uri="stdio://")
    with pytest.raises(ConfigError, match="stdio"):
        health.check(Config(wyoming=stdio, ears=EarsConfig(enabled=False)), PATIENCE_S)
    port = tcp.getsockname()[1]
    with answering(tcp, b"HTTP/1.1 426 Upgrade Required\r\n\r\n"):
        assert "eaRS" in health.check(Config(wyoming=stdio, ears=EarsConfig(port=port)), PATIENCE_S).text
