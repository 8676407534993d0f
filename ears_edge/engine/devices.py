"""What the encoder runs on: as the settings say, or, for `auto`, what a comparison on this machine found.

    <cache>/devices/<key>.json   what came of a comparison
    <cache>/<device>/            what a device compiled

The comparison is good for these files of the model, this onnxruntime with its providers, this CPU and this
number of threads.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ears_edge.asr.onnx import RUNTIME, installed
from ears_edge.asr.providers import CPU, PROVIDERS, Placement, Provider
from ears_edge.config import Config
from ears_edge.engine.comparison import ROUNDS, Comparison, Setting, try_out
from ears_edge.engine.cores import threads
from ears_edge.engine.optimize import cached, longest_window_s
from ears_edge.errors import ModelError
from ears_edge.models.folder import ModelFolder
from ears_edge.models.machine import cpu
from ears_edge.models.optimized import cache_folder
from ears_edge.typed import ShapeError, parse_json_object, to_json, to_typed

MAX_RECORD_BYTES: Final = 65_536


def placement(
    device: str,
    config: Config,
    env: Mapping[str, str] = os.environ,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> Placement:
    """How an encoder runs on a device.

    Raises:
        ModelError: This onnxruntime has no such device; code `device-missing`. The text names the package.
    """
    provider = providers[device]
    if provider not in installed(providers):
        raise ModelError(
            f"model.device = {device!r}: this onnxruntime has no {provider.name}. {whence(provider)}. "
            "Or set model.device to auto or cpu.",
            code="device-missing",
        )
    return _placement(provider, config, env)


def chosen(
    folder: ModelFolder,
    config: Config,
    env: Mapping[str, str] = os.environ,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> str:
    """The device to load the model on: as set, or what `auto` means here. Reads no weights."""
    if config.model.device != "auto":
        return config.model.device
    have = {provider.device for provider in installed(providers)}
    if have == {CPU.device}:  # the rule: nothing to look up at each start
        return CPU.device
    found = recorded(folder, config, env)
    return found.best if found is not None and found.best in have else CPU.device


def recorded(folder: ModelFolder, config: Config, env: Mapping[str, str] = os.environ) -> Comparison | None:
    """What an earlier comparison came to that still holds; None if there was none."""
    path = _record(folder, config, env)
    with suppress(OSError, ShapeError):  # another version may have written it, or half of it
        if path.stat().st_size <= MAX_RECORD_BYTES:
            return to_typed(parse_json_object(path.read_bytes()), Comparison)
    return None


def undecided(folder: ModelFolder, config: Config, env: Mapping[str, str] = os.environ) -> bool:
    """Whether `auto` has a choice here, and nobody has compared yet."""
    others = any(provider != CPU for provider in installed())
    return config.model.device == "auto" and others and recorded(folder, config, env) is None


def compare(
    folder: ModelFolder,
    config: Config,
    env: Mapping[str, str] = os.environ,
    *,
    candidates: Sequence[Provider] | None = None,
    rounds: int = ROUNDS,
) -> Comparison | None:
    """Try all devices of this machine on the test clip, and record what `auto` is to take. Blocks.

    All models are held at once, and a device may have to compile for minutes: a process that goes on had
    better let a child do this.

    Args:
        folder: The model.
        config: `model` and `engine` are used.
        env: Tells where the cache is.
        candidates: What to try; None means all that this onnxruntime has besides the CPU.
        rounds: How often each window is timed, in turn.

    Returns:
        What was found; None, and nothing is recorded, if there is only the CPU.

    Raises:
        ModelError: The CPU can't run it either.
        InferenceError: As above.
    """
    if candidates is None:
        candidates = [provider for provider in installed() if provider != CPU]
    if not candidates:
        return None
    found = tried(folder, config, env, candidates, rounds=rounds)
    keep(found, folder, config, env)
    return found


def keep(found: Comparison, folder: ModelFolder, config: Config, env: Mapping[str, str] = os.environ) -> None:
    """Record what `auto` is to take."""
    path = _record(folder, config, env)
    with suppress(OSError):  # a cache that can't be written to: `auto` stays with the CPU
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(to_json(found) + "\n", encoding="utf-8")
        unfinished.replace(path)


def tried(
    folder: ModelFolder,
    config: Config,
    env: Mapping[str, str],
    candidates: Sequence[Provider],
    *,
    rounds: int = ROUNDS,
) -> Comparison:
    """As `compare`, but nothing is recorded, and there may be no candidates."""
    setting = Setting(
        folder=folder,
        threads=threads(config.model.threads),
        rewritten=_rewritten(folder, config, env),
        place=lambda provider: _placement(provider, config, env),
    )
    return try_out(setting, candidates, rounds=rounds)


def _placement(provider: Provider, config: Config, env: Mapping[str, str]) -> Placement:
    compiled = _cache(env) / provider.device if provider.cache_option else None
    return Placement(provider=provider, compiled=compiled, spinning=config.model.spinning)


def whence(provider: Provider) -> str:
    """Who brings a provider, as what the user does."""
    if provider.package == CPU.package:
        return f"The package {provider.package} has it on macOS alone"
    return f"Install the package {provider.package} in the place of {CPU.package}"


def _rewritten(folder: ModelFolder, config: Config, env: Mapping[str, str]) -> Path | None:
    verdict = cached(folder, cache_folder(env), window_s=longest_window_s(config.engine))
    return verdict.encoder if verdict else None


def _cache(env: Mapping[str, str]) -> Path:
    return cache_folder(env).parent


def _record(folder: ModelFolder, config: Config, env: Mapping[str, str]) -> Path:
    files = [path for path in (folder.encoder, folder.float_encoder) if path is not None]
    rewritten = _rewritten(folder, config, env)
    key = [
        RUNTIME,
        [provider.name for provider in installed()],
        cpu(),
        threads(config.model.threads),
        [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        str(rewritten or ""),
    ]
    name = hashlib.sha256(to_json(key).encode()).hexdigest()[:32]
    return _cache(env) / "devices" / f"{name}.json"
