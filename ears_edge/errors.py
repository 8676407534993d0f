"""Errors: one root, one class per reaction (what the caller does next).

* `ConfigError`: the user edits a key; exit status 78.
* `UnavailableError`: the user frees a port, or tries again later; exit status 75.
* `ModelError` (not found, corrupt, mismatch, access): the user fetches or repairs a model; exit status 69.
* `PeerProtocolError`, `AudioFormatError` below it: the client's author mends it; answered, then closed.
* `UnsupportedError`: the client asks for something else; answered, stays open.
* `OverloadedError`: the client comes back later.
* `ServerError`: the user of our own client looks after the server that was asked.
* `InferenceError`: our fault; ends one session only.
"""

import os
import re
import socket
from typing import Final

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


def excerpt(value: object, limit: int = 60) -> str:
    """A value as people may see it in a message: its repr, cut."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def network_reason(exc: OSError | UnicodeError) -> str:
    """Why the system could not reach or use a network address: a few words for the inside of a sentence."""
    if isinstance(exc, UnicodeError):
        return "no host can have this name"
    if isinstance(exc, socket.gaierror):
        return exc.strerror or str(exc)
    # asyncio tells several failed addresses in one text, and hides the system's words for a single one.
    numbers = [exc.errno] if exc.errno else [int(number) for number in _ERRNO.findall(str(exc))]
    return os.strerror(numbers[-1]) if numbers else str(exc) or type(exc).__name__


class EarsEdgeError(Exception):
    """Root. `code` is stable (both wires, metrics, tests); `str(exc)` is prose for people."""

    default_code = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code


class ConfigError(EarsEdgeError, ValueError):
    """Start-up stops (exit status 78); `key` is the dotted path that the user must edit."""

    default_code = "config"

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key


class UnavailableError(EarsEdgeError):
    """Something is held by another program, or does not answer: exit status 75, as later it may."""

    default_code = "unavailable"


class ModelError(EarsEdgeError):
    """The model can't be used (exit status 69 at start)."""

    default_code = "model"


class ModelNotFoundError(ModelError, FileNotFoundError):
    """A file of the model, or its folder, is not there."""

    default_code = "model-not-found"


class ModelCorruptError(ModelError, ValueError):
    """A file of the model can't be read: truncated, or not what its name says."""

    default_code = "model-corrupt"


class ModelMismatchError(ModelError, ValueError):
    """A file of the model is sound, but not of the shape this engine (or its other files) expects."""

    default_code = "model-mismatch"


class ModelAccessError(ModelError, PermissionError):
    """The hub gives the model only to those whom it knows: the user gives a token."""

    default_code = "model-access"


class PeerProtocolError(EarsEdgeError):
    """The client broke the protocol: answer with `code`, then close. Never logged above INFO."""

    default_code = "bad-message"


class AudioFormatError(PeerProtocolError):
    """The client's audio can't be read as it was declared."""

    default_code = "bad-audio"


class UnsupportedError(EarsEdgeError):
    """A sound request for something this server does not have: answer with `code`, stay open."""

    default_code = "unsupported"


class OverloadedError(EarsEdgeError):
    """Admission refused; the client may come back later."""

    default_code = "busy"


class ServerError(EarsEdgeError):
    """The server our own client asked can't be reached, went away, or answered with an error (its code)."""

    default_code = "server"


class InferenceError(EarsEdgeError):
    """The model failed on this session's audio. Ends this session only; logged at ERROR."""

    default_code = "inference"
