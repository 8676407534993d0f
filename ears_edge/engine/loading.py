"""From the settings to a loaded model."""

from dataclasses import replace

from ears_edge.config import Config
from ears_edge.engine.recognizer import TdtRecognizer
from ears_edge.models.folder import resolve


def load(config: Config) -> TdtRecognizer:
    """The model that the settings ask for, with the languages that they announce. Blocks.

    Raises:
        ModelError: It is missing, damaged or of another kind.
    """
    recognizer = TdtRecognizer.load(resolve(config.model.name, config.models), threads=config.model.threads)
    if config.model.languages:
        recognizer.info = replace(recognizer.info, languages=config.model.languages)
    return recognizer
