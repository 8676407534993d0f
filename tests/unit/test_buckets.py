import numpy as np
import pytest

from ears_edge.asr.buckets import LENGTHS, MAX_OPEN, Buckets, Run
from ears_edge.errors import InferenceError, ModelError
from ears_edge.units import F32


class Opened:
    """Opens encoders that give back what counts of what they get, and remembers it."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.given: list[tuple[int, int]] = []

    def __call__(self, bucket: int) -> Run:
        self.opened.append(bucket)

        def run(columns: F32, length: int) -> F32:
            assert columns.dtype == np.float32
            assert not columns[length:].any()
            self.given.append((len(columns), length))
            return columns[:length]

        return run


@pytest.mark.parametrize(
    ("columns", "bucket"), [(1, 320), (319, 320), (320, 320), (321, 800), (1500, 1600), (6400, 6400)]
)
def test_a_window_is_padded_up_to_the_next_length_and_its_own_length_is_told(
    columns: int, bucket: int
) -> None:
    opened = Opened()
    window = np.ones((columns, 4), np.float32)
    assert np.array_equal(Buckets(opened)(window, columns), window)
    assert opened.given == [(bucket, columns)]


def test_a_length_is_opened_when_it_is_first_needed_and_then_kept() -> None:
    opened = Opened()
    buckets = Buckets(opened)
    assert opened.opened == []
    for columns in (100, 200, 500, 100):
        buckets(np.ones((columns, 4), np.float32), columns)
    assert opened.opened == [320, 800]


def test_of_too_many_lengths_the_one_that_was_used_longest_ago_is_closed() -> None:
    opened = Opened()
    buckets = Buckets(opened)
    for columns in LENGTHS[:MAX_OPEN]:
        buckets.ready(columns)
    buckets.ready(LENGTHS[0])
    buckets.ready(LENGTHS[MAX_OPEN])  # closes the second
    buckets.ready(LENGTHS[0])
    assert opened.opened == [*LENGTHS[: MAX_OPEN + 1]]
    buckets.ready(LENGTHS[1])
    assert opened.opened == [*LENGTHS[: MAX_OPEN + 1], LENGTHS[1]]


def test_what_is_longer_than_all_is_refused() -> None:
    with pytest.raises(InferenceError):
        Buckets(Opened())(np.ones((LENGTHS[-1] + 1, 4), np.float32), 1)


def test_a_length_that_can_not_be_opened_ends_the_session_that_asked_for_it_and_no_more() -> None:
    def refuse(_length: int) -> Run:
        raise ModelError("no room")

    buckets = Buckets(refuse)
    with pytest.raises(InferenceError, match="no room"):
        buckets(np.ones((10, 4), np.float32), 10)
    with pytest.raises(ModelError):
        buckets.ready(LENGTHS[0])
