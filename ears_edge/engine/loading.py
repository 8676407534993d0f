"""From the settings to a loaded model."""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ears_edge.asr.providers import CPU, PROVIDERS, Placement, Provider
from ears_edge.config import Config
from ears_edge.engine import devices
from ears_edge.engine.cores import threads
from ears_edge.engine.optimize import cached, longest_window_s
from ears_edge.engine.recognizer import TdtRecognizer
from ears_edge.errors import ModelError
from ears_edge.models import catalog
from ears_edge.models.folder import EMBEDDED, Attribution, ModelFolder, ModelInfo, resolve
from ears_edge.models.optimized import cache_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of a model before it is loaded, and what has to be done first."""

    info: ModelInfo
    pull: bool = False
    """It is not on this machine, or not whole."""
    optimize: bool = False
    """Nobody has tried yet to rewrite its encoder for this machine."""
    compare: bool = False
    """There are several devices, and nobody has tried yet which is the fastest."""


def survey(config: Config, env: Mapping[str, str] = os.environ) -> Survey:
    """Look what there is of the model that the settings ask for. Blocks; reads no weights.

    Raises:
        ModelError: There is no such model, or its folder is none.
    """
    name = config.model.name
    reference = catalog.find(name)
    try:
        folder = ModelFolder.open(resolve(name, config.models))
    except ModelError:
        if reference is None:
            raise
        return Survey(info=_announced(_of_catalog(reference), config), pull=True)
    wanted = config.model.optimize and config.model.device in {"auto", CPU.device}
    known = wanted and cached(folder, cache_folder(env), window_s=longest_window_s(config.engine))
    return Survey(
        info=_announced(folder.info, config),
        optimize=wanted and known is None,
        # The embedded model has no float encoder, which other devices want.
        compare=name != EMBEDDED and devices.undecided(folder, config, env),
    )


def exists(config: Config) -> None:
    """Check that the settings ask for a model that there may be. Reads no weights.

    Raises:
        ModelNotFoundError: It is neither here nor could it be pulled.
    """
    if catalog.find(config.model.name) is None:
        resolve(config.model.name, config.models)


def give_back_memory() -> None:
    """Let the system have what a model has left behind. GNU's C library keeps that; others do not."""
    gc.collect()
    if sys.platform == "linux":
        # Source: malloc_trim(3); musl has none.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _of_catalog(reference: catalog.Reference) -> ModelInfo:
    entry = reference.entry
    if entry is None:
        return ModelInfo(name=reference.name)
    return ModelInfo(
        name=reference.name,
        description=entry.description,
        languages=entry.languages,
        licence=entry.licence,
        attribution=Attribution(entry.author, entry.author_url),
    )


def _announced(info: ModelInfo, config: Config) -> ModelInfo:
    return replace(info, languages=config.model.languages) if config.model.languages else info


def load(
    config: Config,
    env: Mapping[str, str] = os.environ,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> TdtRecognizer:
    """The model that the settings ask for, with the languages that they announce. Blocks.

    On the CPU, an encoder that `ears-edge models optimize` has made of it for this machine is taken; without
    one, or if that can't be loaded, the model's own serves.

    Raises:
        ModelError: It is missing, damaged or of another kind, or can't be run on the device that is set.
    """
    folder = ModelFolder.open(resolve(config.model.name, config.models))
    recognizer = _on_device(folder, config, env, providers) or _optimized(folder, config, env)
    recognizer = recognizer or _recognizer(folder, config, devices.placement(CPU.device, config, env))
    recognizer.info = _announced(recognizer.info, config)
    return recognizer


def _recognizer(
    folder: ModelFolder,
    config: Config,
    where: Placement,
    rewritten: Path | None = None,
) -> TdtRecognizer:
    return TdtRecognizer(folder, threads=threads(config.model.threads), rewritten=rewritten, placement=where)


def _on_device(
    folder: ModelFolder, config: Config, env: Mapping[str, str], providers: Mapping[str, Provider]
) -> TdtRecognizer | None:
    """The model on the device that is wanted; None if that is the CPU."""
    device = devices.chosen(folder, config, env, providers)
    if device == CPU.device:
        return None
    try:
        return _recognizer(folder, config, devices.placement(device, config, env, providers))
    except ModelError as exc:
        if config.model.device != "auto":
            raise
        logger.warning("%s was faster once, but can't be used now, so the CPU serves: %s", device, exc)
        return None


def _optimized(folder: ModelFolder, config: Config, env: Mapping[str, str]) -> TdtRecognizer | None:
    verdict = cached(folder, cache_folder(env), window_s=longest_window_s(config.engine))
    if verdict is None or verdict.encoder is None:
        return None
    try:
        return _recognizer(
            folder, config, devices.placement(CPU.device, config, env), rewritten=verdict.encoder
        )
    except ModelError as exc:
        logger.warning("the optimized encoder can't be used, so the original serves: %s", exc)
        return None
