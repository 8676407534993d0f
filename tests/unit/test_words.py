import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.asr.tokenizer import Tokenizer
from ears_edge.asr.words import Segmenter, TimedToken, WordBuilder, group_words
from ears_edge.events import Word
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import Samples

FOLDER = ModelFolder.open(resolve("embedded"))
TOKENIZER = Tokenizer(FOLDER.pieces)
PIECES = ("<unk>", "▁", "▁turn", "ing", "▁on", ".", "▁,", "<|en|>", "▁5", "%", "'s", "<blk>")
SMALL = Tokenizer(PIECES)


def timed(*pieces: str) -> list[TimedToken]:
    return [
        TimedToken(PIECES.index(piece), Samples(i * 1280), Samples(i * 1280 + 1280), 1.0 - i / 100)
        for i, piece in enumerate(pieces)
    ]


def words_of(*pieces: str) -> list[str]:
    builder = WordBuilder(SMALL)
    return [word.text for word in [*builder.add(timed(*pieces)), *builder.flush()]]


sentences = st.lists(
    st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.,?"), min_size=1),
    max_size=8,
).map(" ".join)


@given(sentences)
def test_text_survives_the_rebuilt_vocabulary(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_what_the_vocabulary_lacks_is_the_unknown_token() -> None:
    assert TOKENIZER.encode("漢")[-1] == 0
    assert TOKENIZER.is_silent(0)


def test_merges_follow_the_rank() -> None:
    assert [TOKENIZER.pieces[i] for i in TOKENIZER.encode("the")] == ["▁the"]


@given(sentences)
def test_words_are_what_sentencepiece_decodes(text: str) -> None:
    ids = [i for i in TOKENIZER.encode(text) if not TOKENIZER.is_silent(i)]
    builder = WordBuilder(TOKENIZER)
    tokens = [TimedToken(token, Samples(0), Samples(0), 1.0) for token in ids]
    got = " ".join(word.text for word in [*builder.add(tokens), *builder.flush()])
    assert got.replace(" ", "") == text.replace(" ", "").lstrip(".,?")
    if not any(f" {mark}" in f" {text}" for mark in ".,?"):
        assert got == text


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (("▁turn", "ing", "▁on", "."), ["turning", "on."]),
        (("▁turn", "▁,", "▁on"), ["turn,", "on"]),
        (("▁", "ing", "▁", "'s"), ["ing", "'s"]),
        (("▁5", "%"), ["5%"]),
        (("<unk>", "▁on", "<|en|>"), ["on"]),
        ((".",), []),  # nothing to cling to
        ((), []),
    ],
)
def test_pieces_become_words(pieces: tuple[str, ...], words: list[str]) -> None:
    assert words_of(*pieces) == words


def test_a_word_is_out_once_the_next_begins_and_keeps_its_lowest_confidence() -> None:
    builder = WordBuilder(SMALL)
    assert builder.add(timed("▁turn", "ing")) == []
    (word,) = builder.add([TimedToken(PIECES.index("▁on"), Samples(9000), Samples(9500), 0.5)])
    assert word == Word("turning", Samples(0), Samples(2560), 0.99)
    assert [word.text for word in builder.flush()] == ["on"]
    assert builder.flush() == []


def test_punctuation_behind_a_word_that_is_out_is_dropped() -> None:
    builder = WordBuilder(SMALL)
    builder.add(timed("▁on"))
    assert len(builder.flush()) == 1
    assert [*builder.add(timed(".")), *builder.flush()] == []


def test_groups_join_to_all_tokens() -> None:
    ids = [PIECES.index(piece) for piece in ("ing", "▁turn", "ing", "▁,", "▁on", ".")]
    groups = group_words(ids, SMALL)
    assert [[PIECES[i] for i in ids[group]] for group in groups] == [
        ["ing"],
        ["▁turn", "ing", "▁,"],
        ["▁on", "."],
    ]
    assert group_words([], SMALL) == []


def word(start: int, end: int) -> Word:
    return Word("x", Samples(start), Samples(end), 1.0)


def test_a_segment_ends_where_the_next_word_keeps_away() -> None:
    segmenter = Segmenter()
    near, far = word(1000, 2000), word(2000 + 12_800, 20_000)
    assert segmenter.add([word(0, 900), near]) == []
    (first,) = segmenter.add([far])
    assert (first.start, first.end, first.text) == (0, 2000, "x x")
    assert [segment.words for segment in segmenter.flush()] == [(far,)]
    assert segmenter.flush() == []
