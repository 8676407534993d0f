import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("hassil")

from ears_edge.asr.word_model import WORD, WordModel
from training import word_model
from training.word_model import Source, tables, web

PIECES = [*"abcdefghijklmnopqrstuvwxyz'", "\u2581", "."]
PROSE = Source.of(["Who's there? It's me.", "It's late, and who's late is left."])
COMMANDS = Source.of(["turn on the light", "turn off the light"])


def read(text: str, counted: dict[str, word_model.Array]) -> float:
    words = counted.pop("words").tobytes().decode().split("\n")
    model = WordModel(PIECES, words=words, **counted)
    total, context = 0.0, model.start
    for letter in text.replace(" ", "\u2581"):
        nats, context = model.after(context, PIECES.index(letter))
        total += nats
    return total


def test_words_and_pairs_are_counted_in_lower_case_and_without_punctuation() -> None:
    assert PROSE.words == {
        "who's": 2,
        "there": 1,
        "it's": 2,
        "me": 1,
        "late": 2,
        "and": 1,
        "is": 1,
        "left": 1,
    }
    assert PROSE.pairs["", "who's"] == 1
    assert PROSE.pairs["late", "and"] == 1
    assert PROSE.total == 11


def test_each_source_counts_alike() -> None:
    counted = tables([PROSE, COMMANDS])
    assert counted["chances"].sum() == pytest.approx(1)
    words = counted["words"].tobytes().decode().split("\n")
    assert words == sorted({*PROSE.words, *COMMANDS.words})
    assert counted["chances"][words.index("turn")] == pytest.approx(0.5 * 2 / 8)
    rows = np.split(counted["shares"].astype(np.float32), counted["begins"][1:-1])
    assert all(row.sum() == pytest.approx(1, abs=2e-3) for row in rows if len(row))
    assert counted["trust"][words.index("left")] == 0
    assert counted["trust"][words.index("turn")] == pytest.approx(word_model.MOST_TRUST, abs=1e-3)


def test_the_product_reads_what_was_counted() -> None:
    likely = read("turn on the light.", tables([PROSE, COMMANDS]))
    beginnings = (2 / 8, 2 / 11)  # of the commands, all of them "turn", and of the prose
    pairs = (beginnings[0] / sum(beginnings), 1 / 2, 1, 1)
    alone = (2 / 8 / 2, 1 / 8 / 2, 2 / 8 / 2, 2 / 8 / 2)
    trust = word_model.MOST_TRUST
    expected = math.prod(trust * pair + (1 - trust) * word for pair, word in zip(pairs, alone, strict=True))
    assert math.exp(likely - 4 * WORD) == pytest.approx(expected, rel=0.01)
    assert likely > read("turn at the light.", tables([PROSE, COMMANDS]))


def test_what_is_rare_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_model, "RARE_WORD", 0.1)
    counted = tables([PROSE, COMMANDS])
    assert counted["words"].tobytes().decode().split("\n") == ["light", "the", "turn"]
    assert len(counted["followers"]) == 2  # "the light", and "turn" at the beginning; not "turn on" any more


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_model, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=r"pip install -r training/requirements\.txt"):
        web()


def test_the_web_has_words_and_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "frequency_dictionary_en_82_765.txt").write_text("\ufeffthe 30\nlight 10\n", "utf-8")
    (tmp_path / "frequency_bigramdictionary_en_243_342.txt").write_text("\ufeffthe light 7\n", "utf-8")

    class Found:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(word_model, "find_spec", lambda _: Found)
    source = web()
    assert (source.words, source.pairs, source.total) == ({"the": 30, "light": 10}, {("the", "light"): 7}, 40)
