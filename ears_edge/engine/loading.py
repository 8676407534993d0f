"""From the settings to a loaded model."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace

from ears_edge.config import Config
from ears_edge.engine.optimize import cached, longest_window_s
from ears_edge.engine.recognizer import TdtRecognizer
from ears_edge.errors import ModelError
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import cache_folder

logger = logging.getLogger(__name__)


def load(config: Config, env: Mapping[str, str] = os.environ) -> TdtRecognizer:
    """The model that the settings ask for, with the languages that they announce. Blocks.

    An encoder that `ears-edge models optimize` has made of it for this machine is taken; without one, or if
    that can't be loaded, the model's own serves.

    Raises:
        ModelError: It is missing, damaged or of another kind.
    """
    folder = ModelFolder.open(resolve(config.model.name, config.models))
    recognizer = _optimized(folder, config, env) or TdtRecognizer(folder, threads=config.model.threads)
    if config.model.languages:
        recognizer.info = replace(recognizer.info, languages=config.model.languages)
    return recognizer


def _optimized(folder: ModelFolder, config: Config, env: Mapping[str, str]) -> TdtRecognizer | None:
    verdict = cached(folder, cache_folder(env), window_s=longest_window_s(config.engine))
    if verdict is None or verdict.encoder is None:
        return None
    try:
        return TdtRecognizer(folder, threads=config.model.threads, rewritten=verdict.encoder)
    except ModelError as exc:
        logger.warning("the optimized encoder can't be used, so the original serves: %s", exc)
        return None
