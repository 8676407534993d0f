"""How commands reach the running daemon: a Unix socket, one JSON object a line. Where it is, and asking.

{"type": "status"}               -> one `status`
{"type": "use", "name": NAME}    -> a `status` whenever something changes, until NAME serves or can't
every answer that ends a request with a fault: {"type": "error", "text": ..., "code": ...}
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ears_edge.config import ControlConfig
from ears_edge.errors import ModelError, UnavailableError
from ears_edge.models.status import ModelStatus
from ears_edge.typed import ShapeError, parse_json_object, to_json, to_typed

KEY: Final = "control.socket"
NAME: Final = "control.sock"
SYSTEM: Final = Path("/run/ears-edge") / NAME
"""Where a service of the system has it. Source: systemd.exec(5), RuntimeDirectory=ears-edge."""
MAX_LINE_BYTES: Final = 65_536
CONNECT_S: Final = 5.0
ENDS: Final = frozenset({"ready", "unloaded", "failed"})
"""Phases in which a wish is fulfilled, or can't be."""


def socket_path(config: ControlConfig, env: Mapping[str, str] = os.environ) -> Path | None:
    """Where a daemon with these settings listens; None if there is no place for it.

    Source: systemd.exec(5); XDG Base Directory Specification 0.8, which also names the state folder.
    """
    if config.socket:
        return Path(config.socket).expanduser()
    if given := env.get("RUNTIME_DIRECTORY", "").partition(":")[0].strip():
        return Path(given, NAME)
    if (runtime := env.get("XDG_RUNTIME_DIR", "").strip()) and Path(runtime).is_absolute():
        return Path(runtime, "ears-edge", NAME)
    if (state := env.get("XDG_STATE_HOME", "").strip()) and Path(state).is_absolute():
        return Path(state, "ears-edge", NAME)
    if home := env.get("HOME", "").strip():
        return Path(home, ".local", "state", "ears-edge", NAME)
    return None


def use(config: ControlConfig, name: str, env: Mapping[str, str] = os.environ) -> Iterator[ModelStatus]:
    """Ask the running daemon for another model; each change until it serves, or can't. Blocks.

    Raises:
        UnavailableError: No daemon answers.
        ModelError: There is no such model, or somebody asked for another one meanwhile.
    """
    for line in _answers(config, env, {"type": "use", "name": name}):
        status = _status(line)
        yield status
        if status.phase in ENDS:
            return
    raise UnavailableError("the daemon has closed the connection; is it about to stop?")


def _answers(config: ControlConfig, env: Mapping[str, str], request: Mapping[str, object]) -> Iterator[bytes]:
    """Ask, and take lines until the daemon has no more."""
    with _connected(config, env) as sock, sock.makefile("rb") as answers:
        # Whoever closes at once may have answered before: then that tells more.
        with suppress(ConnectionError):
            sock.sendall(f"{to_json(request)}\n".encode())
        sock.settimeout(None)  # a model may take as long as it takes
        with suppress(ConnectionError):
            while line := answers.readline(MAX_LINE_BYTES):
                yield line


def _status(line: bytes) -> ModelStatus:
    try:
        answer = parse_json_object(line)
        if answer.get("type") == "error":
            raise ModelError(str(answer.get("text")), code=str(answer.get("code")))
        return to_typed(answer, ModelStatus)
    except ShapeError as exc:
        raise UnavailableError(f"what answers is no daemon of ours: {exc}") from exc


def _connected(config: ControlConfig, env: Mapping[str, str]) -> socket.socket:
    paths = [socket_path(config, env), None if config.socket else SYSTEM]
    tried = [path for path in dict.fromkeys(paths) if path is not None]
    reasons = []
    for path in tried:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(str(path))
        except OSError as exc:
            sock.close()
            reasons.append(f"{path}: {exc.strerror or exc}")
        else:
            return sock
    raise UnavailableError(
        f"no running daemon answers ({'; '.join(reasons) or 'no place for its socket'}). Start it, or call "
        "this as its user; control.socket can name its socket."
    )
