"""The same model, run by this project and by onnx-asr: whole clips in, text out, no streaming."""

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime as ort

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.audio.converter import Converter
from ears_edge.bench.clips import load
from ears_edge.dsp.features import LogMel
from ears_edge.engine.recognizer import TdtRecognizer, Work
from ears_edge.models.folder import EMBEDDED, MODEL_TYPE, ModelFolder, resolve
from ears_edge.units import F32, SAMPLE_RATE

TEST_CLIPS = Path(__file__).parent.parent / "tests" / "data"


class Speech(NamedTuple):
    """One clip, resampled."""

    name: str
    samples: F32
    """(N,) float32 at 16 kHz."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_RATE


class Contestant(Protocol):
    """One way to run the model."""

    def text(self, samples: F32) -> str:
        """(N,) float32 at 16 kHz -> all that is said."""
        ...

    def encode(self, columns: F32) -> object:
        """(T, n_mels) float32 normalized log-mel columns -> the encoder's output, as this way has it."""
        ...


class Ours:
    """One window over the whole clip; with an encoder that was rewritten for this machine, if given."""

    def __init__(self, model: Path, *, threads: int, rewritten: Path | None = None) -> None:
        self._folder = ModelFolder.open(model)
        self._threads = threads
        self._rewritten = rewritten
        self._recognizer = TdtRecognizer(self._folder, threads=threads, rewritten=rewritten)

    @cached_property
    def _encoder(self) -> AcousticModel:
        """Loaded apart, and only when asked for: it counts as memory."""
        return AcousticModel(self._folder, threads=self._threads, rewritten=self._rewritten)

    def columns(self, samples: F32) -> F32:
        """(N,) float32 at 16 kHz -> (T, n_mels) log-mel columns."""
        log_mel = LogMel(self._recognizer.n_mels)
        return np.concatenate((log_mel.feed(samples), log_mel.flush()))

    def text(self, samples: F32) -> str:
        """See `Contestant`."""
        columns = self.columns(samples)
        work = Work(urgency="final", columns=columns, begin=0, start=0, stop=len(columns), state=None)
        tokens = self._recognizer.decode(work).tokens
        return self._recognizer.tokenizer.decode([token.id for token in tokens])

    def encode(self, columns: F32) -> F32:
        """See `Contestant`."""
        return self._encoder.encode(columns)


class OnnxAsr:
    """onnx-asr as its users run it, with as many threads as ours."""

    def __init__(self, model: Path, *, threads: int) -> None:
        import onnx_asr  # noqa: PLC0415  # it counts as memory of this contestant alone

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        quantization = "int8" if ModelFolder.open(model).encoder.name.endswith(".int8.onnx") else None
        self._model = onnx_asr.load_model(
            MODEL_TYPE,
            model,
            quantization=quantization,
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )

    def text(self, samples: F32) -> str:
        """See `Contestant`."""
        return self._model.recognize(samples)

    def encode(self, columns: F32) -> object:
        """See `Contestant`."""
        # onnx-asr has no public way to run the encoder alone.
        return self._model.asr._encode(columns.T[None], np.array([len(columns)]))  # type: ignore[attr-defined]  # noqa: SLF001  # as said


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("files", nargs="*", help="audio files; by default the spoken test clips")
    parser.add_argument(
        "--model", default=EMBEDDED, help="a folder in the onnx-asr layout (default: embedded)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of one encoder run (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is done (default: 5)")
    return parser


def model_folder(name: str) -> Path:
    """What --model means."""
    return resolve(name)


def speech(files: Sequence[str]) -> list[Speech]:
    """The files, or the spoken test clips, at 16 kHz."""
    clips = load(list(files) or [str(path) for path in sorted(TEST_CLIPS.glob("*.flac"))])
    heard = []
    for clip in clips:
        if files or clip.reference:
            converter = Converter()
            samples = np.concatenate((converter.feed(clip.pcm, clip.fmt), converter.flush()))
            heard.append(Speech(clip.name, samples))
    return heard
