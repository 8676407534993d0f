"""Asking a running daemon whether it is well, as containers and monitors do. Blocking; needs no library."""

import socket
from typing import Final

from ears_edge.addresses import from_here
from ears_edge.config import Config
from ears_edge.errors import ConfigError, UnavailableError, network_reason
from ears_edge.typed import ShapeError, parse_json_object, to_json
from ears_edge.uri import LISTEN_KEY, StdioAddress, TcpAddress, WyomingAddress, host_and_port, listen_address

MAX_ANSWER_BYTES: Final = 65_536
"""The first line of an answer is shorter."""


def check(config: Config, timeout_s: float) -> str:
    """Ask the Wyoming server to describe itself; without one, ask the eaRS server for any answer to HTTP.

    Args:
        config: Settings that the daemon runs with.
        timeout_s: For connecting, and for each read.

    Returns:
        One line: who answered.

    Raises:
        UnavailableError: Nobody answers, or not as a server of ours.
        ConfigError: These settings leave nobody to ask.
    """
    listens = listen_address(config.wyoming.uri)
    if config.wyoming.enabled and not isinstance(listens, StdioAddress):
        return _wyoming(listens, timeout_s)
    if config.ears.enabled:
        return _ears(from_here(config.ears.host), config.ears.port, timeout_s)
    raise ConfigError(LISTEN_KEY, "a server over stdio:// can't be asked; its parent process knows")


def _wyoming(address: WyomingAddress, timeout_s: float) -> str:
    if isinstance(address, TcpAddress):
        address = TcpAddress(from_here(address.host), address.port)
    uri = str(address)
    answer = _first_line(address, f"{to_json({'type': 'describe'})}\n".encode(), timeout_s, uri)
    try:
        kind = parse_json_object(answer).get("type")
    except ShapeError:
        kind = None
    if kind != "info":
        raise UnavailableError(f"{uri} answers, but not as a Wyoming server")
    return f"Wyoming server at {uri} is well"


def _ears(host: str, port: int, timeout_s: float) -> str:
    name = f"ws://{host_and_port(host, port)}"
    answer = _first_line(
        TcpAddress(host, port), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout_s, name
    )
    if not answer.startswith(b"HTTP/1.1 "):
        raise UnavailableError(f"{name} answers, but not as an eaRS server")
    return f"eaRS server at {name} is well"


def _first_line(address: WyomingAddress, request: bytes, timeout_s: float, name: str) -> bytes:
    try:
        with _connected(address, timeout_s) as sock, sock.makefile("rb") as answer:
            sock.sendall(request)
            return answer.readline(MAX_ANSWER_BYTES)
    except (OSError, UnicodeError) as exc:
        late = isinstance(exc, TimeoutError)
        problem = f"no answer within {timeout_s:g} s" if late else network_reason(exc)
        raise UnavailableError(f"{name}: {problem}; is the daemon running?") from exc


def _connected(address: WyomingAddress, timeout_s: float) -> socket.socket:
    if isinstance(address, TcpAddress):
        return socket.create_connection((address.host, address.port), timeout_s)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(str(address.path))
    except OSError:
        sock.close()
        raise
    return sock
