"""What a measurement says: as JSON for machines, as a table for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ears_edge.bench.figures import Figures, Plan, Run, Spread, add_up
from ears_edge.terminal import Terminal, plain
from ears_edge.typed import to_json
from ears_edge.wer import WordErrors

SCHEMA: Final = 1
"""Raised when a member of the JSON changes its meaning or goes."""

_DIGITS: Final = 6
"""Decimals of a number in the JSON."""
_NAME_COLUMNS: Final = 28
"""With longer names the table is wider than 80 columns; their ends tell more."""
_FAST: Final = ("audio", "RTF")
_LIVE: Final = ("first", "lag50", "lag95")
_WORST: Final = 3
"""Texts shown of a clip whose runs gave different ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One measurement."""

    target: str
    """`in-process`, or the server's URI."""
    model: str
    """The model's name; empty if the server did not tell."""
    plan: Plan
    wall_s: float
    """From the first run's start to the last one's end."""
    runs: Sequence[Run]
    references: dict[str, str]
    """What was said, by the clip's name, where that is known."""
    peak_memory_bytes: int | None
    """Resident memory of this process at its highest, the clips included; None for a server elsewhere."""

    @property
    def throughput(self) -> float:
        """Seconds of audio heard in one second, by all sessions together."""
        return self.total().audio_s / self.wall_s if self.wall_s > 0 else 0.0

    def total(self) -> Figures:
        """The figures of all runs."""
        return add_up(self.runs, self.references, live=self.plan.live)

    def clips(self) -> Iterator[tuple[str, Figures, list[str]]]:
        """For each clip, in the order of its first run: name, figures, the distinct texts that were heard."""
        for name in dict.fromkeys(run.name for run in self.runs):
            runs = [run for run in self.runs if run.name == name]
            texts = list(dict.fromkeys(run.text for run in runs if not run.error))
            yield name, add_up(runs, self.references, live=self.plan.live), texts

    def failures(self) -> dict[str, int]:
        """How many runs failed, by error code."""
        codes = [run.error for run in self.runs if run.error]
        return {code: codes.count(code) for code in sorted(set(codes))}


def json_line(report: Report) -> str:
    """One line of JSON. Times are seconds; figures that were not measured are null."""
    total = report.total()
    return to_json(
        {
            "schema": SCHEMA,
            "target": report.target,
            "model": report.model,
            "sessions": report.plan.sessions,
            "live": report.plan.live,
            "repeat": report.plan.repeat,
            "percentiles": "nearest rank",
            "wall_s": _rounded(report.wall_s),
            "throughput": _rounded(report.throughput),
            "peak_memory_bytes": report.peak_memory_bytes,
            "failures": report.failures(),
            "total": _members(total),
            "clips": [
                {"name": name, **_members(figures), "texts": texts} for name, figures, texts in report.clips()
            ],
        }
    )


def show(report: Report, terminal: Terminal) -> None:
    """Print the table, a line of totals, and what the words in its head mean."""
    columns = ("clip", "runs", *(_LIVE if report.plan.live else _FAST), "p50", "p95", "p99", "WER")
    rows = [_row(name, figures, live=report.plan.live) for name, figures, _ in report.clips()]
    rows.append(_row("all", report.total(), live=report.plan.live))
    pace = "at the pace of speech" if report.plan.live else "as fast as it goes"
    title = ", ".join(part for part in (report.target, report.model, pace) if part)
    terminal.table(columns, rows, title=plain(title))
    terminal.say()
    for line in _notes(report):
        terminal.say(plain(line))


def _notes(report: Report) -> Iterator[str]:
    yield (
        f"Throughput: {report.throughput:.1f} s of audio a second, {report.plan.sessions} "
        f"{'session' if report.plan.sessions == 1 else 'sessions'} at once ({report.wall_s:.1f} s measured)."
    )
    if report.peak_memory_bytes is not None:
        yield f"Peak memory: {report.peak_memory_bytes / 2**20:.0f} MiB, this whole process."
    for code, count in report.failures().items():
        yield f"Failed: {count} of {len(report.runs)} runs with code {code}."
    for name, _, texts in report.clips():
        if len(texts) > 1:
            yield f"{name} gave {len(texts)} different texts: {' / '.join(texts[:_WORST])}"
    if report.plan.live:
        yield "first: from the start of the audio to the first word. lag: from a word's end to its arrival."
    else:
        yield "RTF: wall time a second of audio, median. audio: seconds, over all runs."
    yield "p50, p95, p99: from the end of the audio to the final text (nearest rank). All in ms."


def _row(name: str, figures: Figures, *, live: bool) -> list[str]:
    latency = figures.latency_s
    if live:
        lag = figures.word_lag_s
        first = figures.first_word_s
        pace = [
            _ms(first.p50 if first else None),
            _ms(lag.p50 if lag else None),
            _ms(lag.p95 if lag else None),
        ]
    else:
        factor = figures.real_time_factor
        pace = [f"{figures.audio_s:.1f}", f"{factor.p50:.3f}" if factor else "-"]
    good = figures.runs - figures.failed
    return [
        name if len(name) <= _NAME_COLUMNS else f"…{name[1 - _NAME_COLUMNS :]}",
        f"{good}/{figures.runs}" if figures.failed else str(good),
        *pace,
        *(_ms(value) for value in ((latency.p50, latency.p95, latency.p99) if latency else (None,) * 3)),
        _wer(figures.errors),
    ]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def _wer(errors: WordErrors | None) -> str:
    if errors is None:
        return "-"
    return f"{errors.errors} words" if errors.rate is None else f"{errors.rate:.1%}"


def _members(figures: Figures) -> dict[str, object]:
    errors = figures.errors
    return {
        "runs": figures.runs,
        "failed": figures.failed,
        "audio_s": _rounded(figures.audio_s),
        "real_time_factor": _spread(figures.real_time_factor),
        "latency_s": _spread(figures.latency_s),
        "first_word_s": _spread(figures.first_word_s),
        "word_lag_s": _spread(figures.word_lag_s),
        "wer": None if errors is None or errors.rate is None else _rounded(errors.rate),
        "word_errors": None if errors is None else errors.errors,
        "words": None if errors is None else errors.words,
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    return {
        "p50": _rounded(spread.p50),
        "p95": _rounded(spread.p95),
        "p99": _rounded(spread.p99),
        "max": _rounded(spread.max),
    }


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
