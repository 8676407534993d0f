"""What the model is taught to write. Runs where the training's requirements are installed."""

import itertools
import random
import re
from collections import Counter
from pathlib import Path

import pytest

for package in ("hassil", "home_assistant_intents", "num2words", "soundfile"):
    pytest.importorskip(package)

from training import prose, texts  # noqa: E402  # only where the training's requirements are
from training.commands import Commands, in_words  # noqa: E402
from training.snippets import Snippets  # noqa: E402


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Set a timer for 5 minutes.", "Set a timer for five minutes."),
        ("Dim it to 45%.", "Dim it to forty-five percent."),
        ("Set it to 20.5 degrees.", "Set it to twenty point five degrees."),
        ("Wake me at 7:30 AM.", "Wake me at seven thirty AM."),
        ("It is 12:05 or 6:00.", "It is twelve oh five or six o'clock."),
        ("It has 4100 kelvin and 345 lumen.", "It has 4100 kelvin and 345 lumen."),
    ],
)
def test_numbers_below_100_are_written_out(text: str, written: str) -> None:
    assert in_words(text) == written


def test_a_number_is_written_in_one_way_only() -> None:
    commands = Commands(random.Random(5))
    for _ in range(500):
        text = commands.draw()
        assert in_words(text) == text


def drawn(
    monkeypatch: pytest.MonkeyPatch,
    read: str,
    *,
    commands: float = 0.0,
    fragments: float = 0.0,
    mixed: float = 0.0,
    snippets: float = 0.0,
) -> list[str]:
    """200 texts where all of the prose is one sentence."""
    monkeypatch.setattr(texts, "read_prose", lambda _: [[read]] * 4)
    endless = texts.sentences(
        random.Random(2), Path(), commands, fragments=fragments, mixed=mixed, snippets=snippets
    )
    return list(itertools.islice(endless, 200))


@pytest.mark.parametrize(("share", "prose"), [(0.0, range(200, 201)), (0.5, range(70, 131)), (1.0, range(1))])
def test_as_many_sentences_are_commands_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, share: float, prose: range
) -> None:
    read = "She looked at the sea for a long time."
    assert drawn(monkeypatch, read, commands=share).count(read) in prose


def test_some_of_the_prose_lacks_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    read = "She looked at the sea for a long time."
    said = drawn(monkeypatch, read, fragments=0.5)
    assert 70 < said.count(read) < 130
    assert all(read.endswith(text) for text in said)
    fragments = {text for text in said if text != read}
    assert len(fragments) == len(read.split()) - texts.FEWEST_WORDS
    assert min(len(text.split()) for text in fragments) == texts.FEWEST_WORDS


def test_some_of_the_prose_has_words_of_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "FAMILIAR", 3)
    read = "Anna saw the owl and the mouse and the hawk at noon."
    others = ["The owl and the cat.", "The cat and the dog.", "A dog at dawn.", "A mouse at noon."]
    monkeypatch.setattr(texts, "read_prose", lambda _: [[read], others])
    vocabulary = prose.Vocabulary([[read], others], {})
    words = vocabulary.words
    # Neither the three that are most common, nor names, nor what is there but once.
    assert words == ["cat", "dog", "mouse", "noon", "owl"]
    rng = random.Random(6)
    mixed = [vocabulary.exchanged(read, rng) for _ in range(400)]
    # It stays, comes back, or comes in the place of one of the two others: 0.5 + 0.1 + 0.2 times a sentence.
    assert sum(text.count("mouse") for text in mixed) == pytest.approx(0.8 * 400, abs=40)
    assert all(re.fullmatch(r"Anna saw the \w+ and the \w+ and the hawk at \w+\.", text) for text in mixed)
    assert {text.split()[3] for text in mixed} == set(words)


def test_words_that_are_common_in_books_come_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "FAMILIAR", 1)
    texts = ["The owl and the mouse saw and ate the cat.", "The cat saw the owl ate the mouse."]
    vocabulary = prose.Vocabulary([texts], {"owl": 1_000_000, "mouse": 1000, "sheep": 1})
    assert vocabulary.words == ["and", "ate", "cat", "mouse", "owl", "saw"]
    rng = random.Random(7)
    counts = Counter(vocabulary.draw(rng) for _ in range(5000))
    # 63 (1e6 ** 0.3), 7.9 and four times 1, as "sheep": what is in no book is not left out.
    assert counts["owl"] == pytest.approx(5000 * 63.1 / 75.0, abs=120)
    assert counts["mouse"] == pytest.approx(5000 * 7.94 / 75.0, abs=90)
    assert counts["cat"] == pytest.approx(5000 * 1 / 75.0, abs=35)


@pytest.mark.parametrize(
    ("mixed", "changed"), [(0.0, range(1)), (0.5, range(60, 141)), (1.0, range(150, 201))]
)
def test_as_much_of_the_prose_is_mixed_as_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, mixed: float, changed: range
) -> None:
    read = "Old owls and young mice see old mice and young owls."
    monkeypatch.setattr(prose, "FAMILIAR", 1)
    assert sum(text != read for text in drawn(monkeypatch, read, mixed=mixed)) in changed


@pytest.mark.parametrize(("share", "short"), [(0.0, range(1)), (0.5, range(70, 131)), (1.0, range(200, 201))])
def test_as_many_are_snippets_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, share: float, short: range
) -> None:
    read = "She looked at the sea for a long time, a long time."
    monkeypatch.setattr(prose, "FAMILIAR", 1)
    assert sum(text != read for text in drawn(monkeypatch, read, snippets=share)) in short


def test_snippets_are_pieces_words_numbers_names_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "FAMILIAR", 0)
    rng = random.Random(4)
    read = "He sat down, by the fire."
    snippets = Snippets([[read]], prose.Vocabulary([["An owl is an owl."]], {}), Commands(rng), rng)
    counts = Counter(snippets.draw() for _ in range(3000))
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9' -]*\.", text) for text in counts)
    assert counts["Owl."] == pytest.approx(750, abs=100)
    pieces, numbers = {"Sat down by the.", "By the fire.", "Fire."}, {"Five.", "Third.", "Two thirty."}
    assert counts.keys() >= pieces | numbers | {"Twelve owl.", "Ten of owl.", "Yes."}
    assert any(re.fullmatch(r"(Zero|Oh)( (oh|zero|[a-z]+)){1,6}\.", text) for text in counts)


def test_prose_has_examples_definitions_terms_quotations_and_narration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.noun").write_text(
        "00401639 04 n 02 three_blind_mice 0 mice 1 001 @ 00268557 n 0000 | some (small) animals; no\n"
        "00401783 04 n 01 rest 0 001 @ 00401639 n 0000 | activity that refreshes; more; "
        '"time to rest by the pool"\n'
    )
    (tmp_path / "wisdom").write_text("A watched pot never boils.\n\t-- Somebody\n%\n")
    (tmp_path / "novel.txt").write_text("He sat down\nby the fire. It was _very_ warm.\n")
    monkeypatch.setattr(prose, "NOVELS", ("novel",))
    read = prose.read_prose(tmp_path, tmp_path, tmp_path)
    assert read == [
        ["He sat down by the fire.", "It was very warm."],
        ["A watched pot never boils."],
        ["Time to rest by the pool."],
        ["Activity that refreshes.", "Three blind mice."],
    ]
    rng = random.Random(3)
    drawn = Counter(prose.draw_reading(read, rng).split(". ")[0].rstrip(".") for _ in range(2000))
    for source, share in zip(read, prose.SHARES, strict=True):
        assert sum(drawn[text.rstrip(".")] for text in source) == pytest.approx(2000 * share, abs=100)
