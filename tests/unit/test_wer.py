"""Word error rate by hand-counted examples, and what must hold for any two texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.wer import WordErrors, cardinal, compare, edits, normalized, ordinal

WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Turn on the kitchen light.", "turn on the kitchen light"),
        ("  Hello,\tWORLD!\n", "hello world"),
        ("", ""),
        ("...", ""),
        ("good-night", "good night"),
        ("snake_case", "snake case"),
        ("Set it to 21 degrees", "set it to twenty one degrees"),
        ("21°", "twenty one degrees"),
        ("21 °C", "twenty one degrees"),
        ("thirty%.", "thirty percent"),
        ("30 %", "thirty percent"),
        ("1,250 people", "one thousand two hundred fifty people"),
        ("one, 2", "one two"),
        ("21st", "twenty first"),
        ("the 3rd of May", "the third of may"),
        ("7:30", "seven thirty"),
        ("7:05", "seven oh five"),
        ("8:00", "eight"),
        ("3.14", "three point one four"),
        ("3.", "three"),
        ("192.168.0.1", "one hundred ninety two one hundred sixty eight zero one"),
        ("007", "zero zero seven"),
        ("1234567890123", "one two three four five six seven eight nine zero one two three"),
        ("$5", "five dollars"),
        ("What's up?", "what is up"),
        ("Anna\N{RIGHT SINGLE QUOTATION MARK}s lamp", "anna's lamp"),
        ("'quoted'", "quoted"),
        ("I can't, won't, don't", "i cannot will not do not"),
        ("we're we'll we've I'm", "we are we will we have i am"),
        ("OK", "okay"),
        ("Mr Brown", "mister brown"),
        ("CAFÉ cafe\N{COMBINING ACUTE ACCENT}", "café café"),
    ],
)
def test_a_text_becomes_comparable_words(text: str, words: str) -> None:
    assert normalized(text) == words.split()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (105, "one hundred five"),
        (2026, "two thousand twenty six"),
        (1_000_000, "one million"),
        (999_000_001_010, "nine hundred ninety nine billion one thousand ten"),
    ],
)
def test_a_number_is_spoken(number: int, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "first"), (12, "twelfth"), (20, "twentieth"), (22, "twenty second"), (100, "one hundredth")],
)
def test_a_number_is_spoken_as_an_ordinal(number: int, word: str) -> None:
    assert ordinal(number) == word


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("turn on the light", "Turn on the light.", WordErrors(0, 4)),
        ("turn on the light", "turn on a light", WordErrors(1, 4)),
        ("turn on the light", "turn the light", WordErrors(1, 4)),
        ("turn on the light", "turn on the the light", WordErrors(1, 4)),
        ("turn on the light", "", WordErrors(4, 4)),
        ("", "three new words", WordErrors(3, 0)),
        ("", "", WordErrors(0, 0)),
        ("a b c d", "x a b c d y", WordErrors(2, 4)),
        ("a b c d", "d c b a", WordErrors(4, 4)),
        ("set a timer for 5 minutes", "Set a timer for five minutes", WordErrors(0, 6)),
    ],
)
def test_errors_are_counted_as_by_hand(reference: str, heard: str, errors: WordErrors) -> None:
    assert compare(reference, heard) == errors


def test_the_rate_of_several_clips_weighs_words_not_clips() -> None:
    total = WordErrors(1, 2) + WordErrors(0, 8)
    assert total.rate == pytest.approx(0.1)


def test_without_reference_words_there_is_no_rate() -> None:
    assert WordErrors(3, 0).rate is None


@given(WORDS, WORDS)
def test_the_distance_is_a_distance(one: list[str], other: list[str]) -> None:
    distance = edits(one, other)
    assert distance == edits(other, one)
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))


@given(WORDS, WORDS, WORDS)
def test_a_detour_is_never_shorter(one: list[str], other: list[str], third: list[str]) -> None:
    assert edits(one, third) <= edits(one, other) + edits(other, third)


@given(WORDS, WORDS, WORDS)
def test_words_that_both_share_at_the_ends_change_nothing(
    before: list[str], one: list[str], after: list[str]
) -> None:
    assert edits([*before, "x", *one, "y", *after], [*before, "y", *one, "x", *after]) == 2


@given(st.text(max_size=60))
def test_any_text_is_compared_with_itself_without_error(text: str) -> None:
    words = normalized(text)
    assert compare(text, text) == WordErrors(0, len(words))


@given(st.integers(0, 999_999_999_999))
def test_digits_and_words_of_a_number_are_the_same(number: int) -> None:
    assert normalized(str(number)) == normalized(cardinal(number))
