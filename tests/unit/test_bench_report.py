"""What a report says, as JSON and as a table."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from ears_edge.bench.figures import Plan, Run
from ears_edge.bench.report import Report, json_line, show
from ears_edge.terminal import Terminal

RUNS = (
    Run(name="a.wav", audio_s=2.0, wall_s=0.5, latency_s=0.1, text="one two"),
    Run(name="b.wav", audio_s=4.0, wall_s=0.4, latency_s=0.2, text="noise"),
    Run(name="a.wav", audio_s=2.0, wall_s=0.7, latency_s=0.3, text="one too"),
    Run(name="b.wav", audio_s=4.0, wall_s=0.0, latency_s=0.0, error="busy"),
)
LIVE_RUNS = (
    Run(
        name="a.wav",
        audio_s=2.0,
        wall_s=2.1,
        latency_s=0.1,
        first_word_s=0.8,
        word_lags_s=(0.25, 0.125),
        text="one",
    ),
)


def _report(*, live: bool = False, peak: int | None = 3 * 2**20) -> Report:
    return Report(
        target="in-process",
        model="tiny [v1]",
        plan=Plan(sessions=1 if live else 2, repeat=1, live=live),
        wall_s=4.0,
        runs=LIVE_RUNS if live else RUNS,
        references={"a.wav": "one two", "b.wav": ""},
        peak_memory_bytes=peak,
    )


def _shown(report: Report, width: int = 120) -> str:
    out = io.StringIO()
    show(report, Terminal(Console(file=out, width=width)))
    return out.getvalue()


def test_the_json_has_this_shape_and_these_values() -> None:
    assert json.loads(json_line(_report())) == {
        "schema": 1,
        "target": "in-process",
        "model": "tiny [v1]",
        "sessions": 2,
        "live": False,
        "repeat": 1,
        "percentiles": "nearest rank",
        "wall_s": 4.0,
        "throughput": 2.0,
        "peak_memory_bytes": 3 * 2**20,
        "failures": {"busy": 1},
        "total": {
            "runs": 4,
            "failed": 1,
            "audio_s": 8.0,
            "real_time_factor": {"p50": 0.25, "p95": 0.35, "p99": 0.35, "max": 0.35},
            "latency_s": {"p50": 0.2, "p95": 0.3, "p99": 0.3, "max": 0.3},
            "first_word_s": None,
            "word_lag_s": None,
            "wer": 0.5,
            "word_errors": 2,
            "words": 4,
        },
        "clips": [
            {
                "name": "a.wav",
                "runs": 2,
                "failed": 0,
                "audio_s": 4.0,
                "real_time_factor": {"p50": 0.25, "p95": 0.35, "p99": 0.35, "max": 0.35},
                "latency_s": {"p50": 0.1, "p95": 0.3, "p99": 0.3, "max": 0.3},
                "first_word_s": None,
                "word_lag_s": None,
                "wer": 0.25,
                "word_errors": 1,
                "words": 4,
                "texts": ["one two", "one too"],
            },
            {
                "name": "b.wav",
                "runs": 2,
                "failed": 1,
                "audio_s": 4.0,
                "real_time_factor": {"p50": 0.1, "p95": 0.1, "p99": 0.1, "max": 0.1},
                "latency_s": {"p50": 0.2, "p95": 0.2, "p99": 0.2, "max": 0.2},
                "first_word_s": None,
                "word_lag_s": None,
                "wer": None,
                "word_errors": 1,
                "words": 0,
                "texts": ["noise"],
            },
        ],
    }


def test_the_json_of_a_live_measurement_has_words_on_the_way() -> None:
    total = json.loads(json_line(_report(live=True)))["total"]
    assert total["real_time_factor"] is None
    assert total["first_word_s"] == {"p50": 0.8, "p95": 0.8, "p99": 0.8, "max": 0.8}
    assert total["word_lag_s"] == {"p50": 0.125, "p95": 0.25, "p99": 0.25, "max": 0.25}


def test_the_table_has_a_row_for_each_clip_and_one_for_all() -> None:
    rows = [line.split() for line in _shown(_report()).splitlines()]
    assert ["a.wav", "2", "4.0", "0.250", "100", "300", "300", "25.0%"] in rows
    assert ["b.wav", "1/2", "4.0", "0.100", "200", "200", "200", "1", "words"] in rows
    assert ["all", "3/4", "8.0", "0.250", "200", "300", "300", "50.0%"] in rows


@pytest.mark.parametrize("live", [False, True])
def test_the_table_fits_80_columns_whatever_the_files_are_called(*, live: bool) -> None:
    report = _report(live=live)
    name = "/a/long/path/to/a/file/that/somebody/recorded.flac"
    runs = [replace(run, name=name, latency_s=12.345, first_word_s=12.345) for run in report.runs]
    shown = _shown(replace(report, runs=runs), width=80)
    (row,) = [line for line in shown.splitlines() if line.startswith("…")]
    assert "that/somebody/recorded.flac " in row
    assert "12345" in row
    assert row.rstrip()[-1] in "-%"


def test_the_table_is_followed_by_totals_and_by_what_went_wrong() -> None:
    shown = _shown(_report())
    assert "in-process, tiny [v1], as fast as it goes" in shown
    assert "Throughput: 2.0 s of audio a second, 2 sessions at once (4.0 s measured)." in shown
    assert "Peak memory: 3 MiB" in shown
    assert "Failed: 1 of 4 runs with code busy." in shown
    assert "a.wav gave 2 different texts: one two / one too" in shown


def test_a_live_table_tells_when_words_came() -> None:
    shown = _shown(_report(live=True, peak=None))
    rows = [line.split() for line in shown.splitlines()]
    assert ["a.wav", "1", "800", "125", "250", "100", "100", "100", "50.0%"] in rows
    assert "at the pace of speech" in shown
    assert "1 session at once" in shown
    assert "Peak memory" not in shown
