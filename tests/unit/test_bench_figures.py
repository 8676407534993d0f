"""The figures of a measurement, by hand-counted examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.bench.figures import Run, Spread, add_up, percentile
from ears_edge.wer import WordErrors

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("count", "percent", "rank"),
    [
        (1, 50, 1),
        (1, 99, 1),
        (2, 50, 1),
        (2, 51, 2),
        (3, 50, 2),
        (20, 95, 19),
        (20, 99, 20),
        (100, 50, 50),
        (100, 95, 95),
        (100, 99, 99),
        (100, 100, 100),
        (101, 99, 100),
        (200, 0.1, 1),
    ],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(count: int, percent: float, rank: int) -> None:
    assert percentile([float(n) for n in range(count, 0, -1)], percent) == rank


def test_without_values_there_is_no_percentile_and_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    assert Spread.of([]) is None


@given(VALUES, st.floats(0.1, 100))
def test_at_least_that_share_of_the_values_does_not_exceed_a_percentile(
    values: list[float], percent: float
) -> None:
    at = percentile(values, percent)
    assert at in values
    assert sum(value <= at for value in values) >= len(values) * percent / 100 - 1e-9
    assert sum(value < at for value in values) < len(values) * percent / 100


@given(VALUES)
def test_a_spread_is_made_of_percentiles(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread == Spread(
        p50=percentile(values, 50), p95=percentile(values, 95), p99=percentile(values, 99), max=max(values)
    )


def _run(name: str = "a", **changes: object) -> Run:
    members: dict[str, object] = {
        "name": name,
        "audio_s": 2.0,
        "wall_s": 0.5,
        "latency_s": 0.1,
        "text": "one two",
    }
    return Run(**(members | changes))  # type: ignore[arg-type]  # members by name


def test_runs_add_up() -> None:
    runs = [_run(), _run(wall_s=1.0, latency_s=0.3), _run("b", audio_s=4.0, wall_s=0.4, text="one")]
    figures = add_up(runs, {"a": "one two", "b": "one two three"}, live=False)
    assert (figures.runs, figures.failed, figures.audio_s) == (3, 0, 8.0)
    assert figures.real_time_factor == Spread(p50=0.25, p95=0.5, p99=0.5, max=0.5)
    assert figures.latency_s == Spread(p50=0.1, p95=0.3, p99=0.3, max=0.3)
    assert figures.errors == WordErrors(2, 7)
    assert figures.first_word_s is None
    assert figures.word_lag_s is None


def test_live_runs_have_words_on_the_way_and_no_real_time_factor() -> None:
    runs = [
        _run(first_word_s=0.7, word_lags_s=(0.4, 0.6)),
        _run(first_word_s=0.9, word_lags_s=(0.5,)),
        _run(),
    ]
    figures = add_up(runs, {}, live=True)
    assert figures.real_time_factor is None
    assert figures.first_word_s == Spread(p50=0.7, p95=0.9, p99=0.9, max=0.9)
    assert figures.word_lag_s == Spread(p50=0.5, p95=0.6, p99=0.6, max=0.6)
    assert figures.errors is None


def test_failed_runs_count_as_failed_and_nowhere_else() -> None:
    figures = add_up([_run(), _run(error="busy", wall_s=99.0, text="")], {"a": "one two"}, live=False)
    assert (figures.runs, figures.failed, figures.audio_s) == (2, 1, 2.0)
    assert figures.real_time_factor is not None
    assert figures.real_time_factor.max == 0.25
    assert figures.errors == WordErrors(0, 2)


def test_runs_that_all_failed_have_no_figures() -> None:
    figures = add_up([_run(error="busy")], {"a": "one"}, live=False)
    assert (figures.real_time_factor, figures.latency_s, figures.errors) == (None, None, None)
