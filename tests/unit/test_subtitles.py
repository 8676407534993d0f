import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.events import Segment, Word
from ears_edge.subtitles import LINE_COLUMNS, LINES, MAX_CUE, cues, srt, vtt
from ears_edge.units import Samples, samples


def word(text: str, start: float, end: float) -> Word:
    return Word(text, samples(start), samples(end), 0.9)


def segment(text: str, start: float = 0.0, each: float = 0.25) -> Segment:
    """Words of equal length, one right after the other."""
    return Segment(
        tuple(
            word(part, start + each * at, start + each * (at + 1)) for at, part in enumerate(text.split(" "))
        )
    )


def test_nothing_said_gives_no_cues() -> None:
    assert cues([]) == []
    assert srt([]) == ""
    assert vtt([]) == "WEBVTT\n\n"


def test_srt_is_numbered_and_has_commas() -> None:
    text = srt([segment("Turn on the light.", 1.0, 0.5), segment("Please.", 5.0, 0.5)])
    assert text == (
        "1\n00:00:01,000 --> 00:00:03,000\nTurn on the light.\n\n"
        "2\n00:00:05,000 --> 00:00:06,000\nPlease.\n\n"
    )


def test_vtt_has_points_and_escapes_what_it_must() -> None:
    assert vtt([segment("R&D <b> -->", 0.0, 0.5)]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nR&amp;D &lt;b&gt; --&gt;\n\n"
    )


def test_times_go_on_past_a_day_and_past_a_hundred_hours() -> None:
    assert "25:01:01,500 --> 25:01:02,500" in srt([segment("Late.", 25 * 3600 + 61.5, 0.5)])
    assert "101:00:00.000 --> 101:00:01.000" in vtt([segment("Later.", 101 * 3600, 0.5)])


def test_two_lines_are_balanced_and_no_line_is_too_long() -> None:
    (cue,) = cues([segment("the quick brown fox jumps over the lazy dog while it sleeps", each=0.2)])
    assert cue.lines == ("the quick brown fox jumps over", "the lazy dog while it sleeps")


def test_text_that_does_not_fit_two_lines_goes_into_the_next_cue() -> None:
    made = cues([segment("word " * 29 + "end", each=0.1)])
    assert [len(cue.lines) for cue in made] == [2, 2]
    assert " ".join(line for cue in made for line in cue.lines) == "word " * 29 + "end"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([("One.", 0, 0.5), ("Two", 0.5, 1)], ["One.", "Two"]),
        ([("one", 0, 0.5), ("two", 1.6, 2)], ["one", "two"]),
        ([("one", 0, 0.5), ("two", 1.4, 2)], ["one two"]),
        ([("one", 0, 4), ("two", 4, 7.1)], ["one", "two"]),
        ([("one", 0, 4), ("two", 4, 7)], ["one two"]),
    ],
    ids=["sentence", "pause", "no pause", "too long", "just not too long"],
)
def test_a_cue_ends_where_it_should(words: list[tuple[str, float, float]], expected: list[str]) -> None:
    made = cues([Segment(tuple(word(*each) for each in words))])
    assert [" ".join(cue.lines) for cue in made] == expected


def test_a_segment_ends_a_cue() -> None:
    assert [cue.lines for cue in cues([segment("one"), segment("two", 0.25)])] == [("one",), ("two",)]


def test_a_very_long_word_has_a_line_to_itself_and_is_not_cut() -> None:
    long = "x" * 100
    made = cues([segment(f"a {long} b")])
    assert [cue.lines for cue in made] == [("a", long), ("b",)]


def test_wide_characters_count_twice_and_accents_on_letters_not_at_all() -> None:
    assert len(cues([segment("漢" * 21 + " " + "字" * 21)])[0].lines) == 2
    assert [len(cue.lines) for cue in cues([segment("漢" * 22 + " 字 字")])] == [2]
    assert cues([segment("e\u0301" * 20 + " " + "o\u0308" * 21)])[0].lines == (
        "e\u0301" * 20 + " " + "o\u0308" * 21,
    )


def test_words_that_overlap_do_not_make_cues_that_do() -> None:
    made = cues([Segment((word("One.", 0, 3), word("Two.", 1, 4), word("Three.", 1, 1)))])
    assert [(cue.start, cue.end) for cue in made] == [
        (0, samples(1.0)),
        (samples(1.0), samples(1.001)),
        (samples(1.001), samples(2.001)),
    ]


def test_a_short_cue_stays_a_second_if_it_may() -> None:
    first, second = cues([segment("Yes.", 0, 0.1), segment("No.", 0.4, 0.1)])
    assert (first.end, second.end) == (samples(0.4), samples(1.4))


WORDS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Z", "C", "M"]), min_size=1, max_size=60),
        st.integers(0, 40_000),
        st.integers(0, 160_000),
    ),
    max_size=40,
)


@given(words=WORDS, breaks=st.sets(st.integers(1, 40)))
def test_every_word_is_shown_once_in_order_in_cues_that_keep_the_rules(
    words: list[tuple[str, int, int]], breaks: set[int]
) -> None:
    at = 0
    segments: list[list[Word]] = [[]]
    for number, (text, gap, length) in enumerate(words):
        at += gap
        if number in breaks:
            segments.append([])
        segments[-1].append(Word(text, Samples(at), Samples(at + length), 1.0))
    made = cues([Segment(tuple(part)) for part in segments if part])
    shown = " ".join(line for cue in made for line in cue.lines)
    assert shown == " ".join(text for text, _, _ in words)
    for cue in made:
        assert 0 < cue.end - cue.start <= MAX_CUE
        assert 1 <= len(cue.lines) <= LINES
        assert all(line and (len(line) <= LINE_COLUMNS or " " not in line) for line in cue.lines)
    for cue, following in itertools.pairwise(made):
        assert cue.end <= following.start
