import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.asr import tables as tables_module
from ears_edge.asr import word_model
from ears_edge.asr.tokenizer import SPACE, Tokenizer
from ears_edge.asr.word_model import LETTER, UNKNOWN, WORD, Context, WordModel
from ears_edge.errors import ModelCorruptError, ModelError, ModelNotFoundError
from ears_edge.models.folder import ModelFolder, resolve

WORDS = ("a", "at", "ate", "i'm", "tea", "the")
CHANCES = dict(zip(WORDS, (0.1, 0.2, 0.05, 0.15, 0.1, 0.4), strict=True))
PAIRS = {"the": {"a": 0.25, "tea": 0.75}, "": {"i'm": 0.5, "the": 0.5}}
TRUST = {"the": 0.5, "": 0.25}
PIECES = ("<unk>", *(SPACE + word for word in WORDS), SPACE, *"aeimtxh'", ".", ",", SPACE + "THE", "<blk>")
LETTERS = st.sampled_from("atehxim'")

Table = dict[str, npt.NDArray[Any]]


def tables() -> Table:
    rows = [PAIRS.get(word, {}) for word in (*WORDS, "")]
    return {
        "chances": np.array(list(CHANCES.values()), np.float32),
        "begins": np.cumsum([0, *map(len, rows)]).astype(np.uint32),
        "followers": np.array([WORDS.index(word) for row in rows for word in row], np.uint32),
        "shares": np.array([share for row in rows for share in row.values()], np.float16),
        "trust": np.array([TRUST.get(word, 0) for word in (*WORDS, "")], np.float16),
    }


MODEL = WordModel(PIECES, words=WORDS, **tables())


def read(pieces: list[str], model: WordModel = MODEL) -> tuple[float, Context]:
    total, context = 0.0, model.start
    for piece in pieces:
        nats, context = model.after(context, PIECES.index(piece))
        total += nats
    return total, context


def letters(text: str) -> list[str]:
    return [SPACE if letter == " " else letter for letter in text]


def likely(word: str, before: str) -> float:
    pairs, trust = PAIRS.get(before, {}), TRUST.get(before, 0)
    known = (1 - trust) * CHANCES.get(word, 0) + trust * pairs.get(word, 0)
    return WORD + math.log((1 - UNKNOWN) * known + UNKNOWN * math.exp(LETTER * (len(word) + 1)))


@given(st.lists(st.sampled_from([*WORDS, "hex", "mate"]), max_size=5))
def test_a_text_is_as_likely_as_its_words_however_it_is_cut_into_pieces(words: list[str]) -> None:
    expected = sum(likely(word, before) for before, word in pairwise(["", *words]))
    told, context = read(letters(" ".join(words) + " "))
    assert told == pytest.approx(expected, abs=1e-3)
    assert context.begun == ""
    whole = [[SPACE + word] if word in WORDS else [SPACE, *word] for word in words]
    assert read([piece for pieces in whole for piece in pieces] + [","])[0] == pytest.approx(told, abs=1e-9)


@given(st.text(LETTERS, max_size=4), st.sampled_from(["", "the", "tea"]))
def test_what_has_begun_is_as_likely_as_all_that_it_may_become(begun: str, before: str) -> None:
    beginning = letters(before)
    ways = [word for word in WORDS if word.startswith(begun.lstrip("'"))]
    told, _ = read([*beginning, SPACE, *begun])
    ended, _ = read([*beginning, SPACE])
    known = sum(math.exp(likely(word, before)) for word in ways)
    assert math.exp(told - ended) == pytest.approx(known if begun.strip("'") else 1, abs=0.002)


def test_punctuation_and_marks_cost_nothing_and_a_sentence_begins_anew() -> None:
    assert read([SPACE + "THE"]) == read([SPACE + "the"])
    assert read(["<unk>", "<blk>", SPACE + "the"]) == read([SPACE + "the"])
    ended, context = read([SPACE + "the", "."])
    assert context == MODEL.start
    assert ended == read([SPACE + "the", ","])[0] == read([SPACE + "the", SPACE])[0]


def test_a_word_that_is_not_there_costs_more_the_longer_it_is_and_never_all() -> None:
    costs = [read([SPACE, *("x" * length)])[0] for length in (1, 2, 8, 300)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < read([SPACE + "ate"])[0]
    assert costs[-1] == pytest.approx(WORD + math.log(UNKNOWN) + 300 * LETTER)
    assert read([SPACE, "x", SPACE])[1].before == -1


def test_the_memory_for_answers_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_model, "REMEMBERED", 3)
    model = WordModel(PIECES, words=WORDS, **tables())
    for _ in range(2):
        assert read(letters("the tea at"), model) == read(letters("the tea at"))
    assert model._chance.cache_info().currsize == 3


def save(path: Path, **changed: npt.NDArray[Any]) -> Path:
    words = np.frombuffer("\n".join(WORDS).encode(), np.uint8)
    np.savez_compressed(path, allow_pickle=True, **({"words": words} | tables() | changed))
    return path


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    loaded = WordModel.load(save(tmp_path / "words.npz"), PIECES)
    assert read(letters("i'm at the tea "), loaded) == read(letters("i'm at the tea "))


def without(name: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        kept: Mapping[str, npt.NDArray[Any]] = {key: value for key, value in tables().items() if key != name}
        np.savez_compressed(path, allow_pickle=True, **kept)

    return harm


def with_table(**changed: npt.NDArray[Any]) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        save(path, **changed)

    return harm


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        pytest.param(lambda path: path.unlink(), ModelNotFoundError, "word_weight", id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), ModelCorruptError, "Fetch", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"no zip"), ModelCorruptError, "Fetch", id="no archive"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:300]), ModelCorruptError, "Fetch", id="cut off"
        ),
        pytest.param(one_array, ModelCorruptError, "Fetch", id="one array"),
        pytest.param(
            without("trust"), ModelCorruptError, "not a file in the archive", id="a table is missing"
        ),
        pytest.param(with_table(trust=np.zeros(3)), ModelCorruptError, "do not fit", id="other sizes"),
        pytest.param(
            with_table(begins=np.full(8, 9, np.uint32)), ModelCorruptError, "not in order", id="other pairs"
        ),
        pytest.param(
            with_table(words=np.frombuffer(b"b\na\nc\nd\ne\nf", np.uint8)),
            ModelCorruptError,
            "not sorted",
            id="disorder",
        ),
        pytest.param(
            with_table(trust=np.full(7, np.nan)), ModelCorruptError, "from 0 to 1", id="not a number"
        ),
        pytest.param(
            with_table(words=np.array([object()])),
            ModelCorruptError,
            "allow_pickle",
            id="objects, not numbers",
        ),
        pytest.param(with_table(words=np.array([0xFF], np.uint8)), ModelCorruptError, "utf-8", id="no text"),
    ],
)
def test_a_fault_names_the_file(
    tmp_path: Path, harm: Callable[[Path], None], error: type[ModelError], said: str
) -> None:
    path = save(tmp_path / "words.npz")
    harm(path)
    with pytest.raises(error) as caught:
        WordModel.load(path, PIECES)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "MAX_FILE_BYTES", 10)
    with pytest.raises(ModelCorruptError, match="larger than 10 bytes"):
        WordModel.load(save(tmp_path / "words.npz"), PIECES)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Enter your password.", "Enter your passward."),
        ("Increase the volume.", "Increased the volume."),
        ("He was there to help.", "He was their to help."),
        ("I don't know who it is.", "I don't no who it is."),
        ("Turn on the kitchen light.", "Turn on the kitchen like."),
    ],
)
def test_the_embedded_list_knows_what_is_english(right: str, wrong: str) -> None:
    folder = ModelFolder.open(resolve("embedded"))
    assert folder.words
    model, tokenizer = WordModel.load(folder.words, folder.pieces), Tokenizer(folder.pieces)

    def nats(text: str) -> float:
        total, context = 0.0, model.start
        for token in tokenizer.encode(text):
            more, context = model.after(context, token)
            total += more
        return total

    assert nats(right) > nats(wrong)
