import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ears_edge.asr import beam
from ears_edge.asr.beam import Beam, Joints
from ears_edge.asr.ctc import CtcHead
from ears_edge.asr.tdt import DecoderState, JointOutput, Token, greedy
from ears_edge.asr.tokenizer import SPACE
from ears_edge.asr.word_model import WordModel
from ears_edge.errors import InferenceError
from ears_edge.units import F32

A, B, BLANK = 0, 1, 2
MOST = 3
"""Tokens on one frame."""
MARGIN = 10.0
"""Nats; between answers that are nearer, there is something to search for."""
START = DecoderState(BLANK, np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32))

Say = Callable[[F32, DecoderState], F32]
"""One frame and one state -> the logits of A, B and blank, then of the durations."""


def joints(say: Say) -> Joints:
    """The state remembers all tokens before the last."""

    def answer(frame: F32, states: Sequence[DecoderState]) -> JointOutput:
        logits = np.stack([say(frame, state) for state in states])
        hidden = np.concatenate([state.hidden * 3 + state.last_token for state in states], axis=1)
        return JointOutput(logits, hidden.astype(np.float32), np.zeros_like(hidden))

    return answer


def random(seed: int, sharpness: float, durations: int) -> Say:
    """Depends on the frame and on all tokens before, as a real model does."""
    weights = np.random.default_rng(seed).normal(size=(4, 3 + durations)).astype(np.float32)

    def say(frame: F32, state: DecoderState) -> F32:
        hidden = math.sin(float(state.hidden[0, 0, 0]))
        seen = np.array([frame[0], frame[1], hidden, float(state.last_token)], np.float32)
        return np.asarray(np.sin(seen @ weights * 3) * sharpness, np.float32)

    return say


def noise(seed: int, length: int) -> F32:
    return np.random.default_rng(seed + 1).normal(size=(length, 2)).astype(np.float32)


WORD_WEIGHT = 0.5
WORDS = WordModel(
    [SPACE + "a", "b", "<blk>"],
    words=["a", "ab"],
    chances=np.array([0.04, 0.96]),
    begins=np.array([0, 1, 1, 2]),
    followers=np.array([1, 0]),
    shares=np.array([1.0, 1.0]),
    trust=np.array([0.5, 0, 0.1]),
)
"""A begins a word, B goes on with it; "ab" is the likelier one, but less so where a sentence begins."""


CTC_WEIGHT = 0.7


def search(
    say: Say,
    size: int = 4,
    temperature: float = 1.0,
    words: WordModel | None = None,
    ctc: CtcHead | None = None,
) -> Beam:
    return Beam(
        joints(say),
        size=size,
        vocabulary=3,
        blank=BLANK,
        max_symbols=MOST,
        temperature=temperature,
        words=words,
        word_weight=WORD_WEIGHT,
        ctc=ctc,
        ctc_weight=CTC_WEIGHT,
    )


def thorough(
    say: Say, frames: F32, words: WordModel | None = None, ctc: CtcHead | None = None
) -> tuple[int, ...]:
    """What is found where nothing is given up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam, "HOPELESS", math.inf)
        tokens, _ = search(say, size=1000, words=words, ctc=ctc)(frames, START, len(frames))
    return tuple(ids(tokens))


def chances(say: Say, frames: F32) -> dict[tuple[int, ...], float]:
    """The chance of each sequence of tokens, over all ways through the frames."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    answer = joints(say)

    def go(t: int, state: DecoderState, emitted: int, said: tuple[int, ...], chance: float) -> None:
        if t >= len(frames):
            found[said] += chance
            return
        logits, hidden, cell = answer(frames[t], [state])
        tokens, durations = (np.exp(part) / np.exp(part).sum() for part in (logits[0, :3], logits[0, 3:]))
        for token, likely in enumerate(tokens):
            for duration, lasts in enumerate(durations):
                step = duration or int(token == BLANK or emitted + 1 >= MOST)
                after = state if token == BLANK else DecoderState(token, hidden, cell)
                told = said if token == BLANK else (*said, token)
                go(t + step, after, 0 if step else emitted + 1, told, chance * likely * lasts)

    go(0, START, 0, (), 1.0)
    return found


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 3))
def test_followed_to_the_end_the_likeliest_of_all_readings_is_found(seed: int, length: int) -> None:
    say, frames = random(seed, 1.5, durations=2), noise(seed, length)
    found = chances(say, frames)
    assert sum(found.values()) == pytest.approx(1, rel=1e-4)
    assert found[thorough(say, frames)] == pytest.approx(max(found.values()), rel=1e-4)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 3))
def test_what_is_found_is_the_likeliest_by_what_is_heard_and_by_its_words(seed: int, length: int) -> None:
    say, frames = random(seed, 1.5, durations=2), noise(seed, length)
    found = {
        said: chance * math.exp(WORD_WEIGHT * weighed(said)) for said, chance in chances(say, frames).items()
    }
    assert found[thorough(say, frames, WORDS)] == pytest.approx(max(found.values()), rel=1e-4)


def weighed(said: Sequence[int]) -> float:
    total, context = 0.0, WORDS.start
    for token in said:
        nats, context = WORDS.after(context, token)
        total += nats
    return total


@given(st.integers(0, 500), st.integers(1, 12), st.data())
def test_words_are_weighed_across_the_stop(seed: int, length: int, data: st.DataObject) -> None:
    say, frames = random(seed, 3.0, durations=5), noise(seed, length)
    stop = data.draw(st.integers(0, length))
    told, state = search(say, words=WORDS)(frames, START, stop)
    more, after = search(say, words=WORDS)(frames[stop:], state, length - stop)
    context = WORDS.start
    for token in [*told, *more]:
        context = WORDS.after(context, token.id)[1]
        assert token.after.context == context
    assert (after.context or WORDS.start) == context


def test_of_two_that_sound_alike_the_word_that_is_one_is_taken() -> None:
    """Behind A the model hears blank a little better than B; "ab" is far likelier than "a" and its end."""

    def say(frame: F32, _: DecoderState) -> F32:
        first = shares(1, 0, 0) if frame[0] == 0 else shares(0, 0.4, 0.6)
        return np.concatenate((first, shares(0, 1)))

    frames = np.array([[0], [1], [0]], np.float32)
    assert ids(search(say)(frames, START, 3)[0]) == [A, A]
    assert ids(search(say, words=WORDS)(frames, START, 3)[0]) == [A, B, A]


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 3))
def test_of_the_readings_at_the_end_that_is_told_which_both_heads_find_likeliest(
    seed: int, length: int
) -> None:
    say, frames = random(seed, 1.5, durations=2), noise(seed, length)
    rng = np.random.default_rng(seed)
    head = CtcHead(rng.normal(size=(3, 2)), rng.normal(size=3))
    found = chances(say, frames)
    others = dict(zip(found, head.scores(frames, list(found)), strict=True))
    both = {said: chance * math.exp(CTC_WEIGHT * others[said]) for said, chance in found.items()}
    assert both[thorough(say, frames, ctc=head)] == pytest.approx(max(both.values()), rel=1e-4)
    counted = WORD_WEIGHT * (1 + beam.ONCE_MORE)
    all_three = {said: chance * math.exp(counted * weighed(said)) for said, chance in both.items()}
    told = thorough(say, frames, WORDS, head)
    assert all_three[told] == pytest.approx(max(all_three.values()), rel=1e-4)


def test_a_head_that_is_sure_of_another_reading_has_it_told() -> None:
    """The transducer hears A a little better than B; the head hears B, also where it has not to be told."""

    def say(frame: F32, _: DecoderState) -> F32:
        return np.concatenate((shares(0.5, 0.4, 0.1) if frame[0] else shares(0, 0, 1), shares(0, 1)))

    frames = np.array([[0], [1], [0], [1]], np.float32)
    head = CtcHead(np.array([[0.0], [4.0], [0.0]]), np.array([0.0, 0.0, 2.0]))
    assert ids(search(say)(frames, START, 4)[0]) == [A, A]
    assert ids(search(say, ctc=head)(frames, START, 4)[0]) == [B, B]
    told, state = search(say, ctc=head)(frames, START, 3)
    assert (ids(told), state.last_token) == ([B], B)


@given(st.integers(0, 500), st.integers(0, 12))
def test_a_sure_model_says_what_greedy_search_hears(seed: int, length: int) -> None:
    say, frames = random(seed, 200.0, durations=5), noise(seed, length)
    tokens, state = search(say)(frames, START, length)
    answer = joints(say)
    margins: list[float] = []

    def joint(frame: F32, state: DecoderState) -> JointOutput:
        logits, hidden, cell = answer(frame, [state])
        parts = np.sort(logits[0, :3]), np.sort(logits[0, 3:])
        margins.extend(float(part[-1] - part[-2]) for part in parts)
        return JointOutput(logits[0], hidden, cell)

    expected, _ = greedy(frames, START, joint, vocabulary=3, blank=BLANK, max_symbols=MOST)
    assume(min(margins, default=math.inf) > MARGIN)
    assert [token[:3] for token in tokens] == [token[:3] for token in expected]
    if expected:
        last = expected[-1]
        assert state.last_token == last.id
        assert state.skip == max(last.frame + last.after.skip - length, 0)


@given(st.integers(0, 500), st.integers(1, 12), st.data())
def test_what_lies_behind_the_stop_is_heard_but_not_told(seed: int, length: int, data: st.DataObject) -> None:
    say, frames = random(seed, 3.0, durations=5), noise(seed, length)
    stop = data.draw(st.integers(0, length))
    whole, _ = search(say)(frames, START, length)
    told, state = search(say)(frames, START, stop)
    assert ids(told) == ids([token for token in whole if token.frame < stop])
    assert state.last_token == (told[-1].id if told else BLANK)
    rest, _ = search(say)(frames[stop:], state, length - stop)
    assert all(token.frame >= state.skip for token in rest)


@given(st.integers(0, 500), st.integers(1, 12))
def test_a_token_tells_where_the_search_goes_on_behind_it(seed: int, length: int) -> None:
    tokens, _ = search(random(seed, 3.0, durations=5))(noise(seed, length), START, length)
    for token, following in itertools.pairwise(tokens):
        assert token.after.last_token == token.id
        assert token.after.skip == token.duration or (token.duration, token.after.skip) == (0, 1)
        assert token.frame + token.after.skip <= following.frame
        assert 0 < token.confidence <= 1
    frames = [token.frame for token in tokens]
    assert all(frames.count(frame) <= MOST for frame in frames)


def ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


def shares(*values: float) -> F32:
    return np.asarray(np.log(np.array(values, np.float32) + 1e-9), np.float32)


def test_a_wrong_turn_is_taken_back() -> None:
    """B begins a little better than A, but what follows fits A alone."""

    def say(frame: F32, state: DecoderState) -> F32:
        if frame[0] == 0:
            return np.concatenate((shares(0.45, 0.55, 0), shares(0, 1)))
        second = {A: (0, 1, 0), B: (0.4, 0.3, 0.3), BLANK: (0, 0, 1)}[state.last_token]
        return np.concatenate((shares(*second), shares(0, 1)))

    tokens, _ = search(say)(np.array([[0], [1]], np.float32), START, 2)
    assert ids(tokens) == [A, B]
    assert [token.confidence for token in tokens] == pytest.approx([0.45, 1.0], rel=1e-4)
    alone, _ = search(say, size=1)(np.array([[0], [1]], np.float32), START, 2)
    assert alone[0].id == B


def test_at_a_higher_temperature_what_is_less_likely_weighs_more() -> None:
    """B begins so likely that what follows does not take it back, unless the model is believed less."""

    def say(frame: F32, state: DecoderState) -> F32:
        first = shares(0.1, 0.9, 0) if frame[0] == 0 else shares(0, 0, 1)
        if frame[0] == 1 and state.last_token == B:
            first = shares(0.2, 0.2, 0.2)
        return np.concatenate((first, shares(0, 1)))

    frames = np.array([[0], [1]], np.float32)
    cold, _ = search(say)(frames, START, 2)
    warm, _ = search(say, temperature=3.0)(frames, START, 2)
    assert (ids(cold)[0], ids(warm)) == (B, [A])
    assert warm[0].confidence == pytest.approx(0.1, rel=1e-4)


def test_the_ways_that_write_the_same_are_added_up() -> None:
    """A may be said at once or after a frame, which are 0.6 together; nothing is said at 0.4."""

    def say(frame: F32, state: DecoderState) -> F32:
        if frame[0] == 0:
            return np.concatenate((shares(0.3, 0, 0.7), shares(0, 1)))
        if state.last_token == A:
            return np.concatenate((shares(0, 0, 1), shares(0, 1)))
        return np.concatenate((shares(3 / 7, 0, 4 / 7), shares(0, 1)))

    tokens, _ = search(say)(np.array([[0], [1]], np.float32), START, 2)
    assert ids(tokens) == [A]


def test_logits_that_are_no_numbers_are_an_error() -> None:
    def say(_frame: F32, _state: DecoderState) -> F32:
        return np.full(5, np.nan, np.float32)

    with pytest.raises(InferenceError, match="not numbers"):
        search(say)(noise(1, 3), START, 3)


def test_with_no_frames_left_the_state_goes_on() -> None:
    tokens, state = search(random(1, 1.0, durations=5))(noise(1, 2), START._replace(skip=3), 2)
    assert (tokens, state.skip, state.last_token) == ([], 1, BLANK)
