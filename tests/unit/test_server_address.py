import pytest

from ears_edge.clients.address import ServerAddress, parse
from ears_edge.errors import ConfigError


@pytest.mark.parametrize(
    ("uri", "expected", "text"),
    [
        ("tcp://box:1", ServerAddress("tcp", "box", 1), "tcp://box:1"),
        ("tcp://box", ServerAddress("tcp", "box", 10_300), "tcp://box:10300"),
        ("tcp://[::1]:5/", ServerAddress("tcp", "::1", 5), "tcp://[::1]:5"),
        ("unix:///run/a b.sock", ServerAddress("unix", path="/run/a b.sock"), "unix:///run/a b.sock"),
        ("ws://box", ServerAddress("ws", "box", 8_765, "/"), "ws://box:8765/"),
        ("WS://10.0.0.1:80/x?y=1", ServerAddress("ws", "10.0.0.1", 80, "/x?y=1"), "ws://10.0.0.1:80/x?y=1"),
        ("wss://box/ears", ServerAddress("wss", "box", 443, "/ears"), "wss://box:443/ears"),
    ],
)
def test_an_address_says_where_and_which_protocol(uri: str, expected: ServerAddress, text: str) -> None:
    address = parse(uri)
    assert address == expected
    assert str(address) == text
    assert address.wyoming == uri.startswith(("tcp", "unix"))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "box",
        "box:10300",
        "http://box",
        "stdio://",
        "tcp://",
        "tcp://[::1",
        "tcp://box/x",
        "tcp://box:99999",
        "tcp://box:x",
        "unix://",
        "unix://run/x",
        "ws:///x",
        "ws://:8765",
        "ws://box/#x",
        "ws://user@box",
    ],
)
def test_anything_else_is_an_error_that_names_the_flag(uri: str) -> None:
    with pytest.raises(ConfigError, match="--server") as caught:
        parse(uri)
    assert caught.value.key == "--server"
