"""TDT beam search: several readings of the same frames side by side. Pure, no session, no clock.

Greedy search takes one way through the frames, and a wrong turn is never taken back. Here the likeliest
tokens and durations are all followed, and the chances of all ways that write the same tokens are added up.
Source: Graves 2012, arXiv:1211.3711 (beam search of transducers); durations as in Xu et al. 2023,
arXiv:2304.06795.
"""

import heapq
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from ears_edge.asr.ctc import CtcHead
from ears_edge.asr.tdt import DecoderState, JointOutput, Token
from ears_edge.asr.word_model import Context, WordModel
from ears_edge.errors import InferenceError
from ears_edge.units import F32

DURATIONS: Final = 2
"""How many of the likeliest durations are followed: with one the embedded model has 5 % more errors, with
three as many."""
HOPELESS: Final = 5.0
"""Nats by which the likeliest step from a frame may surpass one that is followed; 4 to 10 do as well."""
STEPS: Final = 2
"""Steps that are followed from a frame, as a multiple of the beam's size; 3 and 5 do as well."""
JUDGED: Final = 4
"""Readings that a CTC head chooses from at the end, as a multiple of the beam's size: mostly all of them."""
ONCE_MORE: Final = 1.5
"""How often words count again where a CTC head chooses, which knows none; 1 to 3 do nearly as well."""

Joints = Callable[[F32, Sequence[DecoderState]], JointOutput]
"""(D,) float32 frame and B states -> logits (B, V + K) and next states, (layers, B, size) each."""


class _Link(NamedTuple):
    """Tokens, the last one first: readings share what they have in common."""

    token: Token
    before: "_Link | None"


class _Reading(NamedTuple):
    """Tokens, and how they came to the frame where they stand."""

    score: float
    """Log-probability of all ways that came there."""
    text: int
    """The number of this sequence of tokens."""
    state: DecoderState
    """The predictor's."""
    emitted: int
    """Tokens already emitted on the frame."""
    last: _Link | None


class _Step(NamedTuple):
    """A way on from a reading."""

    score: float
    row: int
    """Which of the readings."""
    token: int
    duration: int
    confidence: float
    """The last two: see `tdt.Token`."""


Place = dict[int, _Reading]
"""The readings that stand at one frame, by the number of their tokens."""


class Beam:
    """The search over one model. Keeps nothing between calls."""

    def __init__(
        self,
        joints: Joints,
        *,
        size: int,
        vocabulary: int,
        blank: int,
        max_symbols: int = 10,
        temperature: float = 1.0,
        words: WordModel | None = None,
        word_weight: float = 0.0,
        ctc: CtcHead | None = None,
        ctc_weight: float = 0.0,
    ) -> None:
        """Set it up.

        Args:
            joints: Predictor and joint network, for several readings at once.
            size: Readings that are followed at each frame.
            vocabulary: V, the size of the vocabulary with blank; durations 0, 1, ... follow.
            blank: Its token id.
            max_symbols: Tokens allowed on one frame before it is left.
            temperature: What all logits are divided by, so that a model that is too sure still weighs what
                it holds for less likely. The confidence of a token is that of the model itself.
            words: How likely words are by themselves; None if nothing but what is heard shall count.
            word_weight: What their nats are multiplied by before they are added to a reading's.
            ctc: What else judges the readings that come to the end, words once more, too; None if nothing
                does.
            ctc_weight: What its nats are multiplied by before they are added to a reading's.
        """
        self._joints, self._size, self._temperature = joints, size, np.float32(temperature)
        self._vocabulary, self._blank, self._max_symbols = vocabulary, blank, max_symbols
        self._words, self._word_weight = words, word_weight
        self._ctc, self._ctc_weight = ctc, ctc_weight

    def __call__(self, frames: F32, state: DecoderState, stop: int) -> tuple[list[Token], DecoderState]:
        """Decode encoder frames, from where `state` stands.

        Args:
            frames: (T, D) float32 encoder output, one row an encoder frame.
            state: Where the frames before ended; not modified.
            stop: Up to T. What lies behind is listened to, but its tokens are not told.

        Returns:
            The likeliest tokens before `stop`, and the state with which the frames from there on go on.

        Raises:
            InferenceError: The logits are no numbers.
        """
        begun = _Reading(0.0, 0, state._replace(skip=0, emitted=0), state.emitted, None)
        places: dict[int, Place] = {state.skip: {0: begun}}
        texts: dict[tuple[int, int], int] = {}
        for t in range(state.skip, len(frames)):
            if readings := places.pop(t, None):
                self._leave(t, frames[t], list(readings.values()), places, texts)
        arrived: Place = {}
        for place in places.values():
            for reading in place.values():
                _put(arrived, reading)
        if not arrived:
            raise InferenceError("the model's logits are not numbers")
        best = self._best(list(arrived.values()), frames[state.skip :], state.context)
        tokens = _tokens(best, stop)
        if not tokens:
            return [], begun.state._replace(skip=max(state.skip - stop, 0))
        last = tokens[-1]
        return tokens, last.after._replace(skip=max(last.frame + last.after.skip - stop, 0), emitted=0)

    def _leave(
        self,
        t: int,
        frame: F32,
        readings: list[_Reading],
        places: dict[int, Place],
        texts: dict[tuple[int, int], int],
    ) -> None:
        """Follow the readings at a frame to the frames where they go on."""
        left: list[float] = []
        while readings:
            readings = heapq.nlargest(self._size, readings, key=_score)
            logits, hidden, cell = self._joints(frame, [reading.state for reading in readings])
            staying: Place = {}
            for likely, row, token, duration, confidence in self._steps(readings, logits, left):
                reading, score = readings[row], likely
                full = reading.emitted + 1 >= self._max_symbols
                step = duration or int(full or token == self._blank)
                if token == self._blank:
                    reached = reading._replace(score=score, emitted=0)
                else:
                    text = texts.setdefault((reading.text, token), len(texts) + 1)
                    weighed, context = self._weigh(reading.state.context, token)
                    score = likely + weighed
                    state = DecoderState(
                        token, hidden[:, row : row + 1], cell[:, row : row + 1], context=context
                    )
                    emitted = 0 if step else reading.emitted + 1
                    after = state._replace(skip=step, emitted=emitted)
                    link = _Link(Token(token, t, duration, confidence, after), reading.last)
                    reached = _Reading(score, text, state, emitted, link)
                if step:
                    left.append(score)
                    _put(places.setdefault(t + step, {}), reached)
                else:
                    _put(staying, reached)
            readings = list(staying.values())

    def _best(self, readings: Sequence[_Reading], frames: F32, begun: Context | None) -> _Reading:
        """The likeliest of the readings of these frames, whose words begin behind `begun`."""
        if self._ctc is None or len(readings) == 1:
            return max(readings, key=_score)
        judged = heapq.nlargest(JUDGED * self._size, readings, key=_score)
        texts = [[token.id for token in _tokens(reading)] for reading in judged]
        scores = [
            reading.score + self._ctc_weight * nats + ONCE_MORE * self._weight(text, begun)
            for reading, text, nats in zip(judged, texts, self._ctc.scores(frames, texts), strict=True)
        ]
        return judged[scores.index(max(scores))]

    def _weight(self, text: Sequence[int], context: Context | None) -> float:
        """What the words make of all tokens of a text."""
        total = 0.0
        for token in text:
            weighed, context = self._weigh(context, token)
            total += weighed
        return total

    def _weigh(self, context: Context | None, token: int) -> tuple[float, Context | None]:
        """What the words that a text has so far make of its next token, and where it stands then."""
        if self._words is None:
            return 0.0, None
        nats, after = self._words.after(context or self._words.start, token)
        return self._word_weight * nats, after

    def _steps(self, readings: Sequence[_Reading], logits: F32, left: Sequence[float]) -> Iterator[_Step]:
        """The steps on from some readings that are likely enough, beside those that have left the frame."""
        scores, lasting = logits[:, : self._vocabulary], logits[:, self._vocabulary :] / self._temperature
        rows = np.arange(len(readings))[:, None]
        count, durations = min(self._size + 1, scores.shape[1]), min(DURATIONS, lasting.shape[1])
        tokens = np.argpartition(scores, -count, axis=1)[:, -count:]
        longest = np.argpartition(lasting, -durations, axis=1)[:, -durations:]
        chances = scores[rows, tokens] / self._temperature - _log_sum(scores / self._temperature)
        lasts = lasting[rows, longest] - _log_sum(lasting)
        before = np.array([reading.score for reading in readings])[:, None, None]
        likely = (before + chances[:, :, None] + lasts[:, None, :]).ravel()
        rivals = np.sort(np.concatenate((likely, left)))[-STEPS * self._size :]
        followed = np.flatnonzero(likely >= max(rivals[0], rivals[-1] - HOPELESS))
        row, rest = np.divmod(followed, count * durations)
        token, duration = tokens[row, rest // durations], longest[row, rest % durations]
        sure = np.exp(scores[row, token] - _log_sum(scores)[row, 0])
        columns = (likely[followed], row, token, duration, sure)
        return map(_Step, *(column.tolist() for column in columns))


def _score(reading: _Reading) -> float:
    return reading.score


def _put(place: Place, reading: _Reading) -> None:
    """Add a reading; if the same tokens stand there, their chances add up, and the likelier way is told."""
    other = place.get(reading.text)
    if other is not None:
        less, more = sorted((other, reading), key=_score)
        reading = more._replace(score=more.score + math.log1p(math.exp(less.score - more.score)))
    place[reading.text] = reading


def _tokens(reading: _Reading, stop: int = sys.maxsize) -> list[Token]:
    """Those before frame `stop`, in order."""
    tokens = []
    link = reading.last
    while link:
        if link.token.frame < stop:
            tokens.append(link.token)
        link = link.before
    return tokens[::-1]


def _log_sum(logits: F32) -> F32:
    """(B, N) float32 -> (B, 1) log of the sum of their exponentials."""
    most = logits.max(axis=1, keepdims=True)
    return np.asarray(most + np.log(np.exp(logits - most).sum(axis=1, keepdims=True)), np.float32)
