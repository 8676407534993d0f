"""Encoder, predictor and joint network of a model. Dtypes and shapes are checked here, once."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ears_edge.asr.buckets import LENGTHS, Buckets, Run
from ears_edge.asr.onnx import Session, Tensor, look_at
from ears_edge.asr.providers import ON_CPU, Placement, Provider
from ears_edge.asr.tdt import DecoderState, JointOutput
from ears_edge.errors import InferenceError, ModelMismatchError, ModelNotFoundError
from ears_edge.models import layout
from ears_edge.models.folder import ModelFolder
from ears_edge.models.optimized import FRAMES_KEY
from ears_edge.units import F32

I32 = npt.NDArray[np.int32]

MAX_DURATIONS: Final = 64
"""More logits behind the vocabulary than this are not durations: the vocabulary is of another model."""
LONG_COLUMNS: Final = 400
"""A window of more columns (4 s) gives its memory back: at 15 s that is 45 MB, with an encoder that was not
rewritten 165. Taking it anew costs 1 % of the time, or 5; commands, which are shorter, keep theirs."""


class AcousticModel:
    """Encoder, predictor and joint network of one model. Shared by all sessions, one thread at a time.

    Every size is read from the files.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        threads: int,
        rewritten: Path | None = None,
        placement: Placement = ON_CPU,
    ) -> None:
        """Load the files.

        Args:
            folder: Where they are.
            threads: Of one encoder run.
            rewritten: What `prepack` wrote; it is loaded in the place of the folder's encoder, on the CPU.
            placement: What the encoder runs on. The decoder's steps are too small for anything but the CPU.

        Raises:
            ModelNotFoundError: The provider wants a float encoder, and there is none.
            ModelCorruptError: A file can't be loaded.
            ModelMismatchError: A file has not the inputs, outputs or sizes that its siblings ask for.
            ModelError: The provider can't run it.
        """
        path = rewritten or encoder_for(folder, placement.provider)
        static = placement.provider.static
        session = look_at(path) if static else Session(path, threads, placement, as_it_is=bool(rewritten))
        # One step of the predictor is too small to be worth a second thread's wake-up.
        self._decoder = Session(folder.decoder_joint, 1)
        encoder, decoder = _Signature(session), _Signature(self._decoder)
        self.n_mels = folder.config.features_size
        self.subsampling = folder.config.subsampling_factor
        self.vocabulary = len(folder.pieces)
        """Size of the vocabulary with blank, which is its last token."""
        encoder.expect("input", "audio_signal", "tensor(float)", {1: self.n_mels}, rank=3)
        encoder.expect("input", "length", "tensor(int64)", {}, rank=1)
        size = self.frame_size = encoder.size("output", "outputs", 1, rank=3)
        """D, the size of an encoder frame."""
        encoder.expect("output", "encoded_lengths", "tensor(int64)", {}, rank=1)
        decoder.expect("input", "encoder_outputs", "tensor(float)", {1: size}, rank=3)
        targets = decoder.expect("input", "targets", "tensor(int32)", {}, rank=2)
        if folder.info.beam_size > 1 and isinstance(targets.shape[0], int):
            raise ModelMismatchError(
                f"{folder.decoder_joint}: takes {targets.shape[0]} state at a time, but model.json says "
                f'"beam_size": {folder.info.beam_size}. Set it to 1, or export with an open batch axis.'
            )
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
        most = session.metadata.get(FRAMES_KEY, "")
        self._max_frames = int(most) if most.isdecimal() else sys.maxsize
        self._encoder: Run = _in_buckets(encoder, threads, placement) if static else _Encoder(session)
        self._target = np.zeros((1, 1), np.int32)
        self._one = np.ones(1, np.int32)

    def encode(self, features: F32) -> F32:
        """(T, n_mels) float32 normalized columns -> (T', D) float32, one row an encoder frame.

        Raises:
            InferenceError: The model failed on them.
        """
        if -(-len(features) // self.subsampling) > self._max_frames:
            raise InferenceError(f"{len(features)} columns; this encoder takes {self._max_frames} frames")
        return self._encoder(features, len(features))

    def joint(self, frame: F32, state: DecoderState) -> JointOutput:
        """(D,) float32 encoder frame and predictor state -> logits and next state. See `tdt.Joint`.

        Raises:
            InferenceError: The model failed on them.
        """
        self._target[0, 0] = state.last_token
        said = self._step(frame[None, :, None], self._target, self._one, state.hidden, state.cell)
        return said._replace(logits=said.logits.reshape(-1))

    def joints(self, frame: F32, states: Sequence[DecoderState]) -> JointOutput:
        """The same for several states at once. See `beam.Joints`.

        Raises:
            InferenceError: The model failed on them.
        """
        count = len(states)
        said = self._step(
            np.repeat(frame[None, :, None], count, axis=0),
            np.array([[state.last_token] for state in states], np.int32),
            np.ones(count, np.int32),
            np.concatenate([state.hidden for state in states], axis=1),
            np.concatenate([state.cell for state in states], axis=1),
        )
        return said._replace(logits=said.logits.reshape(count, -1))

    def _step(self, frames: F32, targets: I32, lengths: I32, hidden: F32, cell: F32) -> JointOutput:
        return JointOutput(
            *self._decoder.run(
                ["outputs", "output_states_1", "output_states_2"],
                {
                    "encoder_outputs": frames,
                    "targets": targets,
                    "target_length": lengths,
                    "input_states_1": hidden,
                    "input_states_2": cell,
                },
            )
        )

    def initial_state(self) -> DecoderState:
        """The state before the first token: blank, and zeros."""
        return DecoderState(
            self.vocabulary - 1,
            np.zeros(self._hidden_shape, np.float32),
            np.zeros(self._cell_shape, np.float32),
        )


class _Encoder:
    """A session of an encoder as a `Run`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._length = np.zeros(1, np.int64)

    def __call__(self, columns: F32, length: int) -> F32:
        """See `Run`."""
        self._length[0] = length
        outputs, lengths = self._session.run(
            ["outputs", "encoded_lengths"],
            {"audio_signal": np.ascontiguousarray(columns.T)[None], "length": self._length},
            give_back=len(columns) > LONG_COLUMNS,
        )
        if outputs.dtype != np.float32 or outputs.ndim != 3:  # noqa: PLR2004  # batch, size, time
            raise InferenceError(f"encoder output is {outputs.dtype} of rank {outputs.ndim}")
        encoded: F32 = np.ascontiguousarray(outputs[0, :, : int(lengths[0])].T)
        return encoded


class _Signature:
    """The inputs and outputs that a file declares."""

    def __init__(self, session: Session) -> None:
        self.path = session.path
        self._tensors = {"input": session.inputs, "output": session.outputs}

    def expect(self, side: str, name: str, dtype: str, sizes: Mapping[int, int], *, rank: int) -> Tensor:
        tensor = self._tensors[side].get(name)
        if tensor is None:
            have = ", ".join(self._tensors[side])
            raise ModelMismatchError(f"{self.path}: no {side} {name!r} (it has {have}). Is this a TDT model?")
        wrong = [
            axis for axis, size in sizes.items() if len(tensor.shape) > axis and tensor.shape[axis] != size
        ]
        if tensor.type != dtype or len(tensor.shape) != rank or wrong:
            wanted = ["?" if axis not in sizes else str(sizes[axis]) for axis in range(rank)]
            raise ModelMismatchError(
                f"{self.path}: {side} {name!r} is {tensor.type} {list(tensor.shape)}; expected {dtype} "
                f"[{', '.join(wanted)}]. Are all files of the same model?"
            )
        return tensor

    def size(self, side: str, name: str, axis: int, *, rank: int) -> int:
        size = self.expect(side, name, "tensor(float)", {}, rank=rank).shape[axis]
        if not isinstance(size, int):
            raise ModelMismatchError(
                f"{self.path}: axis {axis} of {side} {name!r} is not fixed; expected a number."
            )
        return size

    def state_shape(self, name: str) -> tuple[int, int, int]:
        return self.size("input", name, 0, rank=3), 1, self.size("input", name, 2, rank=3)


def encoder_for(folder: ModelFolder, provider: Provider) -> Path:
    """The file that a provider takes.

    Raises:
        ModelNotFoundError: It takes float encoders alone, and the folder has none.
    """
    if provider.floats == "never":
        return folder.encoder
    if provider.floats == "required" and folder.float_encoder is None:
        raise ModelNotFoundError(
            f"{folder.path / layout.floats(layout.ENCODER)[0]}: missing; {provider.device} takes "
            "no INT8 encoder. Of a model that was pulled: ears-edge models pull --float NAME."
        )
    return folder.float_encoder or folder.encoder


def _in_buckets(encoder: _Signature, threads: int, placement: Placement) -> Buckets:
    """The encoder in fixed shapes, of which the shortest is opened at once: what fails, fails at start."""
    signal = encoder.expect("input", "audio_signal", "tensor(float)", {}, rank=3)
    length = encoder.expect("input", "length", "tensor(int64)", {}, rank=1)
    batches = [name for name in (signal.shape[0], length.shape[0]) if isinstance(name, str)]
    time = signal.shape[2]
    if not isinstance(time, str):
        raise ModelMismatchError(f"{encoder.path}: the time axis of 'audio_signal' has no name to fix it by.")

    path = encoder.path

    def open_one(columns: int) -> Run:
        sizes = {**dict.fromkeys(batches, 1), time: columns}
        return _Encoder(Session(path, threads, placement, sizes=sizes))

    buckets = Buckets(open_one)
    buckets.ready(LENGTHS[0])
    return buckets
