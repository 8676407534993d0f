"""What settings have to be, one by one and together, in words for people. Pure."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args, get_origin

from ears_edge.addresses import MAX_INSTANCE_NAME_BYTES
from ears_edge.config import Config, EarsConfig, EngineConfig, WyomingConfig
from ears_edge.errors import ConfigError, excerpt
from ears_edge.typed import Bounds
from ears_edge.uri import TcpAddress, listen_address

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")
_ENDPOINT: Final = re.compile(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?")
_HEADER_VALUE: Final = re.compile(r"[!-~]*")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")


def contradictions(config: Config) -> Iterator[ConfigError]:
    """Settings that are sound alone, but not together, or not in a way that a type can say."""
    yield from _geometry(config.engine)
    yield from _listening(config.wyoming, config.ears)
    if not config.model.name.strip():
        yield ConfigError("model.name", "is empty; name a model, such as 'embedded', or a folder")
    for code in config.model.languages:
        if not _LANGUAGE.fullmatch(code):
            problem = f"got {excerpt(code)}; expected a bare code such as 'en' or 'de'"
            yield ConfigError("model.languages", problem)
    if config.models.endpoint and not _ENDPOINT.fullmatch(config.models.endpoint):
        got = "an address with a login" if "@" in config.models.endpoint else excerpt(config.models.endpoint)
        problem = f"got {got}; expected https://HOST[:PORT][/PATH], such as https://mirror.example"
        yield ConfigError("models.endpoint", problem)
    if not _HEADER_VALUE.fullmatch(config.models.token):
        yield ConfigError(
            "models.token", "expected one word of ASCII characters, such as hf_…; not shown here"
        )
    for origin in config.ears.allowed_origins:
        if not _ORIGIN.fullmatch(origin):
            problem = f"got {excerpt(origin)}; expected scheme://host[:port], no path and no slash at the end"
            yield ConfigError("ears.allowed_origins", problem)
    if len(config.zeroconf.name.encode()) > MAX_INSTANCE_NAME_BYTES or not config.zeroconf.name.isprintable():
        problem = f"expected printable text of {MAX_INSTANCE_NAME_BYTES} bytes at most"
        yield ConfigError("zeroconf.name", problem)


def doubts(config: Config) -> Iterator[str]:
    """Settings that work, but hardly as they were meant."""
    if config.ears.enable_listener_mode and not config.ears.listener_tokens:
        yield "ears.enable_listener_mode is on, but ears.listener_tokens is empty: no listener can log in"
    if config.ears.listener_tokens and not config.ears.enable_listener_mode:
        yield "ears.listener_tokens is set, but ears.enable_listener_mode is off: they are not used"
    if config.models.token and config.models.endpoint.startswith("http://"):
        yield "models.token is set, but models.endpoint is http://: the token can be read on its way"


def expectation(annotation: object) -> str:
    """What a key with this annotation takes, in words."""
    if get_origin(annotation) is Annotated:
        kind, *extras = get_args(annotation)
        words = [expectation(kind)]
        for bounds in extras:
            if isinstance(bounds, Bounds):
                words += [f"from {bounds.ge:g}"] if bounds.ge is not None else []
                words += [f"above {bounds.gt:g}"] if bounds.gt is not None else []
                words += [f"up to {bounds.le:.15g}"] if bounds.le is not None else []
        return " ".join(words)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    names: dict[object, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(annotation, "a list of texts")


def _geometry(engine: EngineConfig) -> Iterator[ConfigError]:
    window_s = engine.left_s + engine.chunk_s + engine.right_s
    if window_s > engine.full_window_s:
        yield ConfigError(
            "engine.chunk_s",
            f"left_s + chunk_s + right_s is {window_s:g} s, longer than full_window_s"
            f" ({engine.full_window_s:g} s); shorten one of the three, or raise engine.full_window_s",
        )


def _listening(wyoming: WyomingConfig, ears: EarsConfig) -> Iterator[ConfigError]:
    if not wyoming.enabled and not ears.enabled:
        yield ConfigError("wyoming.enabled", "both servers are off; turn on wyoming.enabled or ears.enabled")
    try:
        listens = listen_address(wyoming.uri)
    except ConfigError as problem:
        yield problem
        return
    if not (wyoming.enabled and ears.enabled and isinstance(listens, TcpAddress)):
        return
    if listens.port == ears.port != 0:
        wildcards = {"", "0.0.0.0", "::"}  # noqa: S104  # compared with, not bound
        if listens.host == ears.host or wildcards & {listens.host, ears.host}:
            yield ConfigError("ears.port", f"{ears.port} is the port of wyoming.uri, too; give each its own")
