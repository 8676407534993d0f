import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.config import EngineConfig
from ears_edge.engine.chunking import Geometry, Run, Window, WindowPlanner

FRAME = 1280
SMALL = Geometry(full=50, left=10, chunk=20, right=5, frame=FRAME)


def test_settings_become_frames_and_the_full_window_is_rounded_up() -> None:
    geometry = Geometry.of(EngineConfig(), frame=FRAME)
    assert geometry == Geometry(full=188, left=60, chunk=100, right=25, frame=FRAME)


def test_a_short_utterance_is_one_window() -> None:
    planner = WindowPlanner(SMALL)
    assert planner.due == 50
    assert planner.finish(50) == Window(0, 50, 50, closes=True)


def test_without_silence_windows_slide_with_left_and_right_context() -> None:
    planner = WindowPlanner(SMALL)
    assert planner.plan([]) == Window(0, 45, 50, closes=False)
    assert planner.due == 70
    assert planner.plan([]) == Window(35, 65, 70, closes=False)
    assert planner.finish(72) == Window(55, 72, 72, closes=True)


@pytest.mark.parametrize(
    ("silences", "cut"),
    [
        ([Run(10, 20)], 15),  # in the middle
        ([Run(10, 20), Run(30, 38)], 34),  # the latest that is long enough
        ([Run(10, 20), Run(30, 34)], 15),  # not a shorter one behind it
        ([Run(10, 13), Run(30, 34)], 32),  # failing that, the longest
        ([Run(0, 40)], 34),  # a long one is cut shortly before the speech that follows
        ([Run(30, 50)], 44),  # also while it goes on
        ([Run(0, 1)], None),  # too short
        ([Run(0, 2)], None),
    ],
)
def test_the_cut_lies_in_silence(silences: list[Run], cut: int | None) -> None:
    window = WindowPlanner(SMALL).plan(silences)
    assert window == (Window(0, cut, cut, closes=True) if cut else Window(0, 45, 50, closes=False))


def test_after_a_cut_the_decoder_and_the_window_start_afresh() -> None:
    planner = WindowPlanner(SMALL)
    planner.plan([Run(30, 40)])
    assert (planner.begin, planner.due) == (35, 85)
    planner.plan([])
    assert planner.plan([Run(70, 90)]) == Window(70, 84, 84, closes=True)
    assert (planner.begin, planner.due) == (84, 134)


@given(st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), max_size=3), max_size=30))
def test_windows_join_without_gap_or_overlap_and_stay_bounded(
    silences: list[list[tuple[int, int]]],
) -> None:
    planner = WindowPlanner(SMALL)
    done = 0
    for runs in silences:
        due = planner.due
        found = [Run(done + start, min(done + start + length, due)) for start, length in runs]
        window = planner.plan(sorted(run for run in found if run.end > run.start))
        assert done < window.stop <= window.end <= due
        assert window.begin <= done
        assert window.end - window.begin <= SMALL.full
        done = window.stop
        assert planner.begin <= done
    assert planner.finish(done + 7).stop == done + 7
