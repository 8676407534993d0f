"""Asking a running daemon whether it is well, as containers and monitors do. Blocking; needs no library."""

import socket
from typing import Final
from urllib.parse import urlsplit

from ears_edge.config import Config
from ears_edge.errors import ConfigError, UnavailableError
from ears_edge.typed import ShapeError, parse_json_object, to_json

MAX_ANSWER_BYTES: Final = 65_536
"""The first line of an answer is shorter."""
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # not bound


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
    if config.wyoming.enabled and not config.wyoming.uri.startswith("stdio:"):
        return _wyoming(config.wyoming.uri, timeout_s)
    if config.ears.enabled:
        return _ears(_ANY.get(config.ears.host, config.ears.host), config.ears.port, timeout_s)
    raise ConfigError("wyoming.uri", "a server over stdio:// can't be asked; its parent process knows")


def _wyoming(uri: str, timeout_s: float) -> str:
    parts = urlsplit(uri)
    where: tuple[str, int] | str = parts.path
    if parts.scheme == "tcp":
        where = (_ANY.get(parts.hostname or "", parts.hostname or ""), parts.port or 0)
    answer = _first_line(where, f"{to_json({'type': 'describe'})}\n".encode(), timeout_s, uri)
    try:
        kind = parse_json_object(answer).get("type")
    except ShapeError:
        kind = None
    if kind != "info":
        raise UnavailableError(f"{uri} answers, but not as a Wyoming server")
    return f"Wyoming server at {uri} is well"


def _ears(host: str, port: int, timeout_s: float) -> str:
    name = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
    answer = _first_line((host, port), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout_s, name)
    if not answer.startswith(b"HTTP/1.1 "):
        raise UnavailableError(f"{name} answers, but not as an eaRS server")
    return f"eaRS server at {name} is well"


def _first_line(where: tuple[str, int] | str, request: bytes, timeout_s: float, name: str) -> bytes:
    try:
        with _connected(where, timeout_s) as sock, sock.makefile("rb") as answer:
            sock.sendall(request)
            return answer.readline(MAX_ANSWER_BYTES)
    except OSError as exc:
        problem = (
            f"no answer within {timeout_s:g} s" if isinstance(exc, TimeoutError) else exc.strerror or exc
        )
        raise UnavailableError(f"{name}: {problem}; is the daemon running?") from exc


def _connected(where: tuple[str, int] | str, timeout_s: float) -> socket.socket:
    if not isinstance(where, str):
        return socket.create_connection(where, timeout_s)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return sock
