import numpy as np
import pytest

from ears_edge.asr.tdt import DecoderState, Token
from ears_edge.engine.agreement import agreed

STATE = DecoderState(0, np.zeros(1, np.float32), np.zeros(1, np.float32))


def tokens(*placed: tuple[int, int], confidence: float = 0.95) -> list[Token]:
    return [Token(token, frame, 2, confidence, STATE) for token, frame in placed]


ONE = [slice(0, 2), slice(2, 3), slice(3, 4)]
SAID = tokens((1, 2), (2, 4), (3, 10), (4, 20))


def look(previous: list[Token], current: list[Token], *, sure: int = 99, tail: int = 99) -> int:
    words = [word for word in ONE if word.stop <= len(current)]
    return agreed(previous, current, words, sure_before=sure, tail_before=tail, confidence=0.9)


@pytest.mark.parametrize(
    ("previous", "sure", "tail", "count"),
    [
        (SAID, 99, 99, 4),
        (SAID, 99, 15, 3),  # the last word is too young to be without a follower
        (SAID, 11, 15, 2),  # so is the second
        (SAID, 5, 15, 0),  # a word is final whole or not at all
        ([], 99, 99, 0),
        (SAID[:3], 99, 99, 2),  # the word before the disagreement has no follower in both
        (SAID[:2], 99, 99, 0),
        (tokens((1, 2), (2, 4), (9, 10), (4, 20)), 99, 99, 0),
        (tokens((1, 2), (2, 4), (3, 10), (9, 20)), 99, 99, 2),
        (tokens((1, 4), (2, 6), (3, 12), (4, 22)), 99, 99, 4),  # two frames apart is the same place
        (tokens((1, 5), (2, 7), (3, 13), (4, 23)), 99, 99, 0),
    ],
)
def test_how_many_tokens_are_final(previous: list[Token], sure: int, tail: int, count: int) -> None:
    assert look(previous, SAID, sure=sure, tail=tail) == count


def test_an_unsure_word_holds_back_those_behind_it() -> None:
    unsure = [*SAID[:2], SAID[2]._replace(confidence=0.5), SAID[3]]
    assert look(SAID, unsure) == 2


def test_nothing_said_is_nothing_final() -> None:
    assert look([], []) == 0
