"""Every ONNX session; the only module that imports onnxruntime. Dtypes and shapes are checked here, once."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from ears_edge.asr.tdt import DecoderState, JointOutput
from ears_edge.errors import InferenceError, ModelCorruptError, ModelMismatchError
from ears_edge.models.folder import ModelFolder
from ears_edge.models.optimized import FRAMES_KEY
from ears_edge.units import F32

MAX_DURATIONS: Final = 64
"""More logits behind the vocabulary than this are not durations: the vocabulary is of another model."""

LONG_COLUMNS: Final = 1000
"""A window of more columns (10 s) gives its memory back. At 15 s that is 110 MB, almost all of it for the first
convolution, and taking it anew costs 5 % of the time; shorter windows keep theirs."""

RUNTIME: Final[str] = ort.__version__
"""Version of onnxruntime."""

ORT_ERRORS: Final[tuple[type[Exception], ...]] = (
    *(e for e in vars(ort_errors).values() if isinstance(e, type) and issubclass(e, Exception)),
    RuntimeError,
    ValueError,
)
"""What onnxruntime raises; its own exceptions share no base class but Exception."""


class _Tensor(Protocol):
    name: str
    shape: Sequence[int | str | None]
    type: str


class AcousticModel:
    """Encoder, predictor and joint network of one model. Shared by all sessions, one thread at a time.

    Every size is read from the files.
    """

    def __init__(self, folder: ModelFolder, *, threads: int, rewritten: Path | None = None) -> None:
        """Load the files.

        Args:
            folder: Where they are.
            threads: Of one encoder run.
            rewritten: What `prepack` wrote; it is loaded in the place of the folder's encoder.

        Raises:
            ModelCorruptError: A file can't be loaded.
            ModelMismatchError: A file has not the inputs, outputs or sizes that its siblings ask for.
        """
        self._encoder = _load(rewritten or folder.encoder, threads, as_it_is=rewritten is not None)
        # One step of the predictor is too small to be worth a second thread's wake-up.
        self._decoder = _load(folder.decoder_joint, 1)
        encoder, decoder = (
            _Signature(rewritten or folder.encoder, self._encoder),
            _Signature(folder.decoder_joint, self._decoder),
        )
        self.n_mels = folder.config.features_size
        self.subsampling = folder.config.subsampling_factor
        self.vocabulary = len(folder.pieces)
        """Size of the vocabulary with blank, which is its last token."""
        encoder.expect("input", "audio_signal", "tensor(float)", {1: self.n_mels}, rank=3)
        encoder.expect("input", "length", "tensor(int64)", {}, rank=1)
        size = encoder.size("output", "outputs", 1, rank=3)
        encoder.expect("output", "encoded_lengths", "tensor(int64)", {}, rank=1)
        decoder.expect("input", "encoder_outputs", "tensor(float)", {1: size}, rank=3)
        decoder.expect("input", "targets", "tensor(int32)", {}, rank=2)
        decoder.expect("input", "target_length", "tensor(int32)", {}, rank=1)
        self._hidden_shape = decoder.state_shape("input_states_1")
        self._cell_shape = decoder.state_shape("input_states_2")
        self.durations = decoder.size("output", "outputs", 3, rank=4) - self.vocabulary
        """How many durations the model chooses from: 0, 1, ... encoder frames."""
        if not 1 <= self.durations <= MAX_DURATIONS:
            raise ModelMismatchError(
                f"{folder.decoder_joint}: {self.durations + self.vocabulary} logits; expected the "
                f"{self.vocabulary} of vocab.txt and 1 to {MAX_DURATIONS} for durations. "
                "Are all files of the same model?"
            )
        metadata = self._encoder.get_modelmeta().custom_metadata_map
        most = metadata.get(FRAMES_KEY, "")
        self._max_frames = int(most) if most.isdecimal() else sys.maxsize
        self._giving_back = ort.RunOptions()
        # Source: onnxruntime_run_options_config_keys.h
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._length = np.zeros(1, np.int64)
        self._target = np.zeros((1, 1), np.int32)
        self._one = np.ones(1, np.int32)

    def encode(self, features: F32) -> F32:
        """(T, n_mels) float32 normalized columns -> (T', D) float32, one row an encoder frame.

        Raises:
            InferenceError: The model failed on them.
        """
        if -(-len(features) // self.subsampling) > self._max_frames:
            raise InferenceError(f"{len(features)} columns; this encoder takes {self._max_frames} frames")
        self._length[0] = len(features)
        signal = np.ascontiguousarray(features.T)[None]
        outputs, lengths = _run(
            self._encoder,
            ["outputs", "encoded_lengths"],
            {"audio_signal": signal, "length": self._length},
            self._giving_back if len(features) > LONG_COLUMNS else None,
        )
        if outputs.dtype != np.float32 or outputs.ndim != 3:  # noqa: PLR2004  # batch, size, time
            raise InferenceError(f"encoder output is {outputs.dtype} of rank {outputs.ndim}")
        encoded: F32 = np.ascontiguousarray(outputs[0, :, : int(lengths[0])].T)
        return encoded

    def joint(self, frame: F32, state: DecoderState) -> JointOutput:
        """(D,) float32 encoder frame and predictor state -> logits and next state. See `tdt.Joint`.

        Raises:
            InferenceError: The model failed on them.
        """
        self._target[0, 0] = state.last_token
        logits, hidden, cell = _run(
            self._decoder,
            ["outputs", "output_states_1", "output_states_2"],
            {
                "encoder_outputs": frame[None, :, None],
                "targets": self._target,
                "target_length": self._one,
                "input_states_1": state.hidden,
                "input_states_2": state.cell,
            },
        )
        return JointOutput(logits.reshape(-1), hidden, cell)

    def initial_state(self) -> DecoderState:
        """The state before the first token: blank, and zeros."""
        return DecoderState(
            self.vocabulary - 1,
            np.zeros(self._hidden_shape, np.float32),
            np.zeros(self._cell_shape, np.float32),
        )


class _Signature:
    """The inputs and outputs that a file declares."""

    def __init__(self, path: Path, session: ort.InferenceSession) -> None:
        self._path = path
        self._tensors: dict[str, dict[str, _Tensor]] = {
            "input": {t.name: t for t in session.get_inputs()},
            "output": {t.name: t for t in session.get_outputs()},
        }

    def expect(self, side: str, name: str, dtype: str, sizes: Mapping[int, int], *, rank: int) -> _Tensor:
        tensor = self._tensors[side].get(name)
        if tensor is None:
            have = ", ".join(self._tensors[side])
            raise ModelMismatchError(
                f"{self._path}: no {side} {name!r} (it has {have}). Is this a TDT model?"
            )
        wrong = [
            axis for axis, size in sizes.items() if len(tensor.shape) > axis and tensor.shape[axis] != size
        ]
        if tensor.type != dtype or len(tensor.shape) != rank or wrong:
            wanted = ["?" if axis not in sizes else str(sizes[axis]) for axis in range(rank)]
            raise ModelMismatchError(
                f"{self._path}: {side} {name!r} is {tensor.type} {list(tensor.shape)}; expected {dtype} "
                f"[{', '.join(wanted)}]. Are all files of the same model?"
            )
        return tensor

    def size(self, side: str, name: str, axis: int, *, rank: int) -> int:
        size = self.expect(side, name, "tensor(float)", {}, rank=rank).shape[axis]
        if not isinstance(size, int):
            raise ModelMismatchError(
                f"{self._path}: axis {axis} of {side} {name!r} is not fixed; expected a number."
            )
        return size

    def state_shape(self, name: str) -> tuple[int, int, int]:
        return self.size("input", name, 0, rank=3), 1, self.size("input", name, 2, rank=3)


def prepack(source: Path, target: Path) -> None:
    """Write a model as onnxruntime optimizes it for this CPU, its weights beside it as the kernels want them.

    Such a file loads fast, and its pages are the file's; it is good for this CPU and this `RUNTIME` alone.

    Raises:
        ModelCorruptError: The source can't be loaded, or the target can't be written.
    """
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(target)
    for key, value in (
        ("optimized_model_external_initializers_file_name", f"{target.name}.data"),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(f"session.{key}", value)
    _load(source, 1, options=options)


def _load(
    path: Path, threads: int, *, as_it_is: bool = False, options: ort.SessionOptions | None = None
) -> ort.InferenceSession:
    options = options or ort.SessionOptions()
    if as_it_is:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Window lengths differ from run to run: a plan of memory for each would only pile up.
    options.enable_mem_pattern = False
    # Spinning wins up to a tenth on an idle machine and costs half on a shared one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ModelCorruptError(
            f"{path}: can't be loaded; expected a sound ONNX file ({reason}). Fetch the model again."
        ) from exc


def _run(
    session: ort.InferenceSession,
    outputs: list[str],
    feeds: Mapping[str, object],
    options: ort.RunOptions | None = None,
) -> Any:  # noqa: ANN401  # untyped
    try:
        return session.run(outputs, feeds, options)
    except ORT_ERRORS as exc:
        raise InferenceError(f"the model failed: {type(exc).__name__}") from exc
