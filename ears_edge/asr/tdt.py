"""TDT greedy search: pure, no session, no clock."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ears_edge.asr.word_model import Context
from ears_edge.units import F32


class DecoderState(NamedTuple):
    """Everything that the search carries on; a value, so decoding a draft cannot spoil it."""

    last_token: int
    hidden: F32
    cell: F32
    """The predictor's LSTM state, each (layers, 1, size) float32."""
    skip: int = 0
    """Encoder frames to pass over before the search goes on: what the last duration jumped past the end."""
    emitted: int = 0
    """Tokens already emitted on the frame where the search goes on."""
    context: Context | None = None
    """Where the text stands, for a search that weighs words; None at its beginning."""


class Token(NamedTuple):
    """A token that was emitted."""

    id: int
    frame: int
    """Encoder frame, counted from the first of the frames given."""
    duration: int
    """Encoder frames that the model says it lasts."""
    confidence: float
    """Softmax probability over the vocabulary and blank."""
    after: DecoderState
    """The state right behind it; `skip` counts from `frame`."""


class JointOutput(NamedTuple):
    """What predictor and joint network say at one encoder frame."""

    logits: F32
    """(V + K,) float32: the vocabulary with blank, then one for each duration."""
    hidden: F32
    cell: F32
    """The predictor's state if the token is taken."""


Joint = Callable[[F32, DecoderState], JointOutput]


def greedy(
    frames: F32, state: DecoderState, joint: Joint, *, vocabulary: int, blank: int, max_symbols: int = 10
) -> tuple[list[Token], DecoderState]:
    """Decode encoder frames greedily, from where `state` stands.

    Args:
        frames: (T, D) float32 encoder output, one row an encoder frame.
        state: Where the frames before ended; not modified.
        joint: (D,) frame and state -> logits and next state.
        vocabulary: V, the size of the vocabulary with blank; the logits behind it are for durations 0, 1, ...
        blank: Its token id.
        max_symbols: Tokens allowed on one frame before it is left. Source: NeMo, greedy.max_symbols.

    Returns:
        The tokens, and the state with which the next frames go on.

    Source: Xu et al. 2023, arXiv:2304.06795 (greedy inference of TDT).
    """
    tokens: list[Token] = []
    t, emitted = state.skip, state.emitted
    state = state._replace(skip=0, emitted=0)
    while t < len(frames):
        logits, hidden, cell = joint(frames[t], state)
        scores = logits[:vocabulary]
        token, duration = int(scores.argmax()), int(logits[vocabulary:].argmax())
        frame, step = t, duration
        if token != blank:
            emitted += 1
        if step == 0 and (token == blank or emitted >= max_symbols):
            step = 1
        if step:
            t, emitted = t + step, 0
        if token != blank:
            state = DecoderState(token, hidden, cell)
            after = state._replace(skip=t - frame, emitted=emitted)
            tokens.append(Token(token, frame, duration, _probability(scores, token), after))
    return tokens, state._replace(skip=t - len(frames), emitted=emitted)


def _probability(scores: F32, token: int) -> float:
    return float(1.0 / np.exp(scores - scores[token]).sum())
