"""One window of mel columns -> tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.beam import Beam
from ears_edge.asr.ctc import CtcHead
from ears_edge.asr.providers import ON_CPU, Placement
from ears_edge.asr.tdt import DecoderState, Token, greedy
from ears_edge.asr.tokenizer import Tokenizer
from ears_edge.asr.word_model import WordModel
from ears_edge.dsp.features import normalize
from ears_edge.models.folder import ModelFolder, ModelInfo
from ears_edge.units import F32, HOP

MIN_COLUMNS = 2
"""One column has no deviation to divide by."""

Urgency = Literal["final", "window", "live"]
"""Why a decode is wanted; in this order they are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One decode, with all that it needs; frames are encoder frames of the utterance."""

    urgency: Urgency
    columns: F32
    """(T, n_mels) float32 log-mel columns of the window, not normalized."""
    begin: int
    """The frame at which the window begins."""
    start: int
    """The frame at which decoding begins, `begin` or later."""
    stop: int
    """The frame at which it ends; those behind are right context."""
    state: DecoderState | None
    """The decoder at `start`; None for a fresh one."""


class Decoded(NamedTuple):
    """What was found in a window."""

    tokens: Sequence[Token]
    """`frame` counts from the start of the utterance."""
    state: DecoderState
    """The decoder at the window's stop; `skip` counts from there."""


class Recognizer(Protocol):
    """Shared by all sessions, stateless between calls; called by one thread at a time."""

    info: ModelInfo
    tokenizer: Tokenizer
    n_mels: int
    frame: int
    """Samples of one encoder frame."""

    def decode(self, work: Work) -> Decoded:
        """Decode one window.

        Raises:
            InferenceError: The model failed.
        """
        ...


class TdtRecognizer:
    """A model's features, encoder and TDT search, one after the other."""

    def __init__(
        self,
        folder: ModelFolder,
        *,
        threads: int,
        rewritten: Path | None = None,
        placement: Placement = ON_CPU,
    ) -> None:
        """Load the model; `rewritten` is an encoder of `engine.optimize` in the place of its own.

        Raises:
            ModelError: It can't be used; the text names the file or the device.
        """
        self._model = AcousticModel(folder, threads=threads, rewritten=rewritten, placement=placement)
        self.device = placement.provider.device
        """What the encoder runs on, as in `model.device`."""
        self._search = _search(self._model, folder)
        self.info = folder.info
        self.tokenizer = Tokenizer(folder.pieces)
        self.n_mels = self._model.n_mels
        self.frame = HOP * self._model.subsampling

    @classmethod
    def load(cls, path: Path, *, threads: int) -> "TdtRecognizer":
        """Load the model in the folder `path`.

        Raises:
            ModelError: It can't be used; the text names the file.
        """
        return cls(ModelFolder.open(path), threads=threads)

    def decode(self, work: Work) -> Decoded:
        """See `Recognizer`."""
        state = work.state or self._model.initial_state()
        if len(work.columns) < MIN_COLUMNS:
            return Decoded((), state)
        encoded = self._model.encode(normalize(work.columns))[work.start - work.begin :]
        tokens, state = self._search(encoded, state, min(work.stop - work.start, len(encoded)))
        return Decoded([token._replace(frame=token.frame + work.start) for token in tokens], state)


def _search(
    model: AcousticModel, folder: ModelFolder
) -> Callable[[F32, DecoderState, int], tuple[list[Token], DecoderState]]:
    """Frames, the state before them and the frame to stop at -> tokens, and the state there."""
    blank, most = model.vocabulary - 1, folder.config.max_tokens_per_step
    info = folder.info
    if info.beam_size > 1:
        head = None
        if folder.ctc:
            head = CtcHead.load(
                folder.ctc,
                vocabulary=model.vocabulary,
                size=model.frame_size,
                temperature=info.temperature,
            )
        return Beam(
            model.joints,
            size=info.beam_size,
            vocabulary=model.vocabulary,
            blank=blank,
            max_symbols=most,
            temperature=info.temperature,
            words=WordModel.load(folder.words, folder.pieces) if folder.words else None,
            word_weight=info.word_weight,
            ctc=head,
            ctc_weight=info.ctc_weight,
        )
    return lambda frames, state, stop: greedy(
        frames[:stop], state, model.joint, vocabulary=model.vocabulary, blank=blank, max_symbols=most
    )
