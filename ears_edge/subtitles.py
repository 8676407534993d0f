"""Timed words -> subtitles, as SRT or WebVTT. Pure.

A cue holds words of one segment, on at most two lines of 42 columns, for at most seven seconds, and ends
early at a sentence's end or a pause.

Source: for the figures, the usual guidelines of broadcasters (such as Netflix's timed text style guide,
general requirements); for WebVTT, W3C WebVTT section 4; SRT has no specification.
"""

import html
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ears_edge.events import Segment, Word
from ears_edge.units import SAMPLE_RATE, Samples, samples

LINE_COLUMNS: Final = 42
LINES: Final = 2
MAX_CUE: Final = samples(7.0)
MIN_CUE: Final = samples(1.0)
"""A cue stays this long, if the next one leaves it the time."""
PAUSE: Final = samples(1.0)
"""Silence inside a segment that ends a cue."""
SENTENCE_ENDS: Final = (".", "?", "!", "…", "。", "？", "！")  # noqa: RUF001  # full-width, as Japanese writes them

_PER_MS: Final = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: shown from `start`, gone at `end`. Cues neither overlap nor are empty."""

    start: Samples
    end: Samples
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> list[Cue]:
    """Segments in order -> cues in order."""
    groups = [group for segment in segments for group in _groups(segment.words)]
    made: list[Cue] = []
    free = 0
    for number, group in enumerate(groups):
        start = max(group[0].start, free)
        end = max(*(word.end for word in group), start + MIN_CUE)
        end = min(end, start + MAX_CUE)
        if number + 1 < len(groups):
            end = min(end, groups[number + 1][0].start)
        free = max(end, start + _PER_MS)
        made.append(Cue(Samples(start), Samples(free), _lines([word.text for word in group])))
    return made


def srt(segments: Iterable[Segment]) -> str:
    """Segments -> the text of an SRT file; empty if nothing was said."""
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n\n"
        for number, cue in enumerate(cues(segments), 1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    """Segments -> the text of a WebVTT file; only its head if nothing was said."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        + "\n".join(html.escape(line, quote=False) for line in cue.lines)
        + "\n\n"
        for cue in cues(segments)
    )


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and _full(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _full(group: Sequence[Word], word: Word) -> bool:
    """Whether `word` must not, or had better not, go into the same cue."""
    last = group[-1]
    return (
        word.end - group[0].start > MAX_CUE
        or word.start - last.end >= PAUSE
        or last.text.endswith(SENTENCE_ENDS)
        or len(_fill([*(w.text for w in group), word.text], LINE_COLUMNS)) > LINES
    )


def _fill(words: Sequence[str], columns: int) -> list[str]:
    """Words -> lines of at most `columns`; a longer word has a line to itself and is never cut."""
    lines: list[str] = []
    for word in words:
        if lines and _width(lines[-1]) + 1 + _width(word) <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """As few lines as need be, and these as equal in length as may be."""
    filled = _fill(words, LINE_COLUMNS)
    for columns in range(_width(" ".join(words)) // len(filled), LINE_COLUMNS):
        lines = _fill(words, columns)
        if len(lines) == len(filled):
            return tuple(lines)
    return tuple(filled)


def _width(text: str) -> int:
    """Columns that the text takes: East Asian wide characters two, marks that stand on others none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _clock(at: int, point: str) -> str:
    """`HH:MM:SS,mmm`; hours go on past 99."""
    seconds, ms = divmod(round(at / _PER_MS), 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{ms:03}"
