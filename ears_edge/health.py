"""Asking a running daemon whether it is well, as containers and monitors do. Blocking; needs no library."""

import io
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

from ears_edge.addresses import from_here
from ears_edge.config import Config
from ears_edge.errors import ConfigError, UnavailableError, network_reason
from ears_edge.models.status import ModelStatus
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed
from ears_edge.uri import LISTEN_KEY, StdioAddress, TcpAddress, WyomingAddress, host_and_port, listen_address
from ears_edge.wire.wyoming import STATUS

MAX_ANSWER_BYTES: Final = 65_536
"""An answer is shorter."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The first line of a Wyoming event."""

    type: str
    data_length: Annotated[int, Bounds(ge=0, le=MAX_ANSWER_BYTES)] = 0


class Health(NamedTuple):
    """What a daemon says of itself."""

    well: bool
    text: str
    """One line: who answered, and how it stands with the model."""
    model: ModelStatus | None
    """None if a daemon of an older version answered."""


def check(config: Config, timeout_s: float) -> Health:
    """Ask the Wyoming server to describe itself; without one, ask the eaRS server for its health page.

    Args:
        config: Settings that the daemon runs with.
        timeout_s: For connecting, and for each read.

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


def _wyoming(address: WyomingAddress, timeout_s: float) -> Health:
    if isinstance(address, TcpAddress):
        address = TcpAddress(from_here(address.host), address.port)
    uri = str(address)
    with _asked(address, f"{to_json({'type': 'describe'})}\n".encode(), timeout_s, uri) as answer:
        data = _info(answer)
    if data is None:
        raise UnavailableError(f"{uri} answers, but not as a Wyoming server")
    return _judged(f"Wyoming server at {uri}", data.get(STATUS))


def _info(answer: io.BufferedReader) -> Mapping[str, object] | None:
    """The data of an `info`; None if it is something else."""
    try:
        header = to_typed(parse_json_object(answer.readline(MAX_ANSWER_BYTES)), _Header)
        body = answer.read(header.data_length)
        data = parse_json_object(body) if body else {}
    except ShapeError:
        return None
    return data if header.type == "info" else None


def _ears(host: str, port: int, timeout_s: float) -> Health:
    name = f"ws://{host_and_port(host, port)}"
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with _asked(TcpAddress(host, port), request, timeout_s, name) as answer:
        head, _, body = answer.read(MAX_ANSWER_BYTES).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise UnavailableError(f"{name} answers, but not as an eaRS server")
    try:
        told = parse_json_object(body).get("model")
    except ShapeError:
        told = None
    return _judged(f"eaRS server at {name}", told)


def _judged(who: str, told: object) -> Health:
    try:
        status = to_typed(told, ModelStatus) if isinstance(told, dict) else None
    except ShapeError:
        status = None
    well = status is None or status.well
    how = "is well" if well else "is not well"
    return Health(well, f"{who} {how}{f': {status.line()}' if status else ''}", status)


@contextmanager
def _asked(
    address: WyomingAddress, request: bytes, timeout_s: float, name: str
) -> Iterator[io.BufferedReader]:
    """The answer to a request, as it comes."""
    try:
        with _connected(address, timeout_s) as sock, sock.makefile("rb") as answer:
            sock.sendall(request)
            yield answer
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
