"""What people write for an address, and what is made of it."""

from pathlib import Path

import pytest

from ears_edge.errors import ConfigError
from ears_edge.uri import (
    ListenAddress,
    ServerAddress,
    StdioAddress,
    TcpAddress,
    UnixAddress,
    WebSocketAddress,
    host_and_port,
    listen_address,
    server_address,
)


@pytest.mark.parametrize(
    ("uri", "expected", "text"),
    [
        ("tcp://box:1", TcpAddress("box", 1), "tcp://box:1"),
        ("tcp://[::1]:5/", TcpAddress("::1", 5), "tcp://[::1]:5"),
        ("TCP://0.0.0.0:0", TcpAddress("0.0.0.0", 0), "tcp://0.0.0.0:0"),  # noqa: S104  # not bound
        ("unix:///run/a b.sock", UnixAddress(Path("/run/a b.sock")), "unix:///run/a b.sock"),
        ("stdio://", StdioAddress(), "stdio://"),
    ],
)
def test_where_the_wyoming_server_listens(uri: str, expected: ListenAddress, text: str) -> None:
    address = listen_address(uri)
    assert address == expected
    assert str(address) == text
    assert listen_address(text) == expected


@pytest.mark.parametrize(
    ("uri", "expected", "text"),
    [
        ("tcp://box:1", TcpAddress("box", 1), "tcp://box:1"),
        ("tcp://box", TcpAddress("box", 10_300), "tcp://box:10300"),
        ("unix:///run/x.sock", UnixAddress(Path("/run/x.sock")), "unix:///run/x.sock"),
        ("ws://box", WebSocketAddress("box", 8_765), "ws://box:8765/"),
        ("WS://10.0.0.1:80/x?y=1", WebSocketAddress("10.0.0.1", 80, "/x?y=1"), "ws://10.0.0.1:80/x?y=1"),
        ("wss://box/ears", WebSocketAddress("box", 443, "/ears", tls=True), "wss://box:443/ears"),
        ("ws://[fd00::5]", WebSocketAddress("fd00::5", 8_765), "ws://[fd00::5]:8765/"),
    ],
)
def test_where_a_server_is_asked(uri: str, expected: ServerAddress, text: str) -> None:
    address = server_address(uri)
    assert address == expected
    assert str(address) == text
    assert server_address(text) == expected


NEVER = [
    "",
    "box",
    "box:10300",
    "http://box:1",
    "tcp://",
    "tcp://:1",
    "tcp://[::1",
    "tcp://box:1/x",
    "tcp://box:1?x",
    "tcp://box:1#x",
    "tcp://box:99999",
    "tcp://box:x",
    "tcp://b\nox:1",
    "tcp://user@box:1",
    "tcp://:secret@box:1",
    "unix://",
    "unix://run/x",
    "unix:///run/x?y",
    "unix:///run/x#y",
    "stdio://x",
    "stdio:///x",
]


@pytest.mark.parametrize("uri", [*NEVER, "tcp://box", "ws://box:1", "wss://box:1"])
def test_anything_else_to_listen_on_is_an_error_that_names_the_key(uri: str) -> None:
    with pytest.raises(ConfigError, match="expected tcp://HOST:PORT, unix:///PATH or stdio://") as caught:
        listen_address(uri)
    assert caught.value.key == "wyoming.uri"


@pytest.mark.parametrize("uri", [*NEVER, "stdio://", "ws:///x", "ws://:8765", "ws://box/#x", "ws://user@box"])
def test_anything_else_to_ask_is_an_error_that_names_the_flag(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"expected tcp://HOST:PORT .* or ws://HOST:PORT") as caught:
        server_address(uri)
    assert caught.value.key == "--server"


def test_why_it_can_not_be_read_is_told_if_there_is_a_reason() -> None:
    with pytest.raises(ConfigError, match=r"got 'tcp://box:99999' .*0-65535.*; expected"):
        listen_address("tcp://box:99999")


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert (host_and_port("::1", 5), host_and_port("box", 5)) == ("[::1]:5", "box:5")
