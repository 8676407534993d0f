import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.asr.tdt import DecoderState, Joint, JointOutput, Token, greedy
from ears_edge.units import F32

BLANK = 3
START = DecoderState(BLANK, np.zeros(1, np.float32), np.zeros(1, np.float32))


def scripted(script: list[tuple[int, int]]) -> Joint:
    """Answers in turn: token and duration; the state counts the tokens taken."""
    answers = iter(script)

    def joint(_frame: F32, state: DecoderState) -> JointOutput:
        token, duration = next(answers)
        logits = np.full(BLANK + 1 + 5, -9, np.float32)
        logits[token] = logits[BLANK + 1 + duration] = 9
        return JointOutput(logits, state.hidden + 1, state.cell)

    return joint


def random_joint(seed: int) -> Joint:
    """Depends on the frame and on the whole state, as a real one does."""
    weights = np.random.default_rng(seed).normal(size=(4, 9)).astype(np.float32)

    def joint(frame: F32, state: DecoderState) -> JointOutput:
        seen = np.array([frame[0], frame[1], float(state.hidden[0]), float(state.last_token)], np.float32)
        return JointOutput(np.sin(seen @ weights * 3), state.hidden * 0.5 + frame[:1], state.cell)

    return joint


def decode(frames: int, joint: Joint, state: DecoderState = START) -> tuple[list[Token], DecoderState]:
    return greedy(np.zeros((frames, 2), np.float32), state, joint, vocabulary=BLANK + 1, blank=BLANK)


@pytest.mark.parametrize(
    ("script", "frames", "tokens", "skip"),
    [
        ([(1, 2), (2, 4)], 3, [(1, 0), (2, 2)], 3),  # the last duration jumps past the end
        ([(1, 0), (2, 1), (BLANK, 2)], 3, [(1, 0), (2, 0)], 0),  # two tokens on one frame
        ([(BLANK, 0), (1, 1)], 2, [(1, 1)], 0),  # blank of duration 0 goes on by one
        ([(BLANK, 4)], 2, [], 2),
        ([], 0, [], 0),
    ],
)
def test_tokens_and_jumps(
    script: list[tuple[int, int]], frames: int, tokens: list[tuple[int, int]], skip: int
) -> None:
    got, state = decode(frames, scripted(script))
    assert [(token.id, token.frame) for token in got] == tokens
    assert state.skip == skip


def test_a_frame_is_left_after_max_symbols_once() -> None:
    script = [(1, 0)] * 10 + [(2, 1)]
    tokens, state = decode(2, scripted(script))
    assert [token.frame for token in tokens] == [0] * 10 + [1]
    assert (state.skip, state.emitted) == (0, 0)


def test_the_predictor_advances_with_tokens_only() -> None:
    _, state = decode(4, scripted([(BLANK, 1), (1, 1), (BLANK, 1), (2, 1)]))
    assert state.hidden[0] == 2
    assert state.last_token == 2


def test_confidence_is_the_softmax_over_the_vocabulary() -> None:
    def joint(_frame: F32, state: DecoderState) -> JointOutput:
        return JointOutput(np.array([0, 2, 0, 0, 0, 50], np.float32), state.hidden, state.cell)

    tokens, _ = decode(1, joint)
    assert tokens[0].confidence == pytest.approx(np.exp(2) / (np.exp(2) + 3), rel=1e-6)


@given(st.integers(0, 500), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_chunk_by_chunk_is_the_same_as_in_one_pass(seed: int, chunks: list[int]) -> None:
    frames = np.random.default_rng(seed + 1).normal(size=(sum(chunks), 2)).astype(np.float32)
    joint = random_joint(seed)
    whole, end = greedy(frames, START, joint, vocabulary=4, blank=BLANK)
    state, parts, at = START, [], 0
    for size in chunks:
        tokens, state = greedy(frames[at : at + size], state, joint, vocabulary=4, blank=BLANK)
        parts += [token._replace(frame=token.frame + at) for token in tokens]
        at += size
    assert [(t.id, t.frame, t.duration) for t in parts] == [(t.id, t.frame, t.duration) for t in whole]
    assert (state.last_token, state.skip, state.emitted) == (end.last_token, end.skip, end.emitted)


@given(st.integers(0, 500), st.integers(1, 40), st.data())
def test_going_on_behind_any_token_gives_the_rest(seed: int, length: int, data: st.DataObject) -> None:
    frames = np.random.default_rng(seed + 1).normal(size=(length, 2)).astype(np.float32)
    joint = random_joint(seed)
    whole, _ = greedy(frames, START, joint, vocabulary=4, blank=BLANK)
    if not whole:
        return
    taken = data.draw(st.integers(1, len(whole)))
    last = whole[taken - 1]
    rest, _ = greedy(frames[last.frame :], last.after, joint, vocabulary=4, blank=BLANK)
    assert [(t.id, t.frame + last.frame) for t in rest] == [(t.id, t.frame) for t in whole[taken:]]
