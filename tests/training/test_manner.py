"""Manners of speaking."""

import random
import re

import numpy as np
import pytest

from training import manner

SENTENCE = "ˌI tˈOld hˌɪm ænd hɜɹ tə wˈAt fɔɹ ɪt, bˌʌt hi wʌz ˈɪn."


def test_a_seed_says_the_same_again_and_another_says_it_otherwise() -> None:
    heard = {manner.said(SENTENCE, random.Random(seed)) for seed in range(50)}
    assert manner.said(SENTENCE, random.Random(3)) == manner.said(SENTENCE, random.Random(3))
    assert SENTENCE in heard
    assert len(heard) > 30


def test_weak_forms_are_of_unstressed_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manner, "ACCENTED", 0.0)
    monkeypatch.setattr(manner, "CASUAL", 1.0)
    monkeypatch.setattr(manner, "SLURS", ())
    monkeypatch.setattr(manner, "HESITANT", 0.0)
    monkeypatch.setattr(manner, "HURRIED", 0.0)
    heard = [manner.said(SENTENCE, random.Random(seed)).split(" ") for seed in range(50)]
    assert {words[3] for words in heard} == {"ænd", "ən", "n", "ənd"}
    assert {words[8] for words in heard} == {"ɪt,", "ɪʔ,", "ət,"}
    assert {words[-1] for words in heard} == {"ˈɪn."}
    assert {words[1] for words in heard} == {"tˈOld"}


def test_pauses_are_where_nothing_is_written_and_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manner, "HESITANT", 1.0)
    monkeypatch.setattr(manner, "HURRIED", 0.0)
    written, paused = SENTENCE.count(","), set()
    for seed in range(50):
        said = manner._phrased(SENTENCE, random.Random(seed))
        assert said.replace(",", "") == SENTENCE.replace(",", "")
        assert written <= said.count(",") <= written + manner.PAUSES
        assert said[-2:] == SENTENCE[-2:]
        assert ",," not in said
        paused |= {at for at, word in enumerate(said.split(" ")) if word.endswith(",")}
    assert paused == set(range(len(SENTENCE.split(" ")) - 1))
    monkeypatch.setattr(manner, "HESITANT", 0.0)
    monkeypatch.setattr(manner, "HURRIED", 1.0)
    assert manner._phrased(SENTENCE, random.Random(0)) == SENTENCE.replace(",", "")


@pytest.mark.parametrize(
    ("fluent", "slurred"),
    [
        ("lˈæst dˈA", "lˈæs dˈA"),
        ("lˈæst ˈɛɡ", "lˈæst ˈɛɡ"),
        ("dˈɪd jˈɛl", "dˈɪʤˈɛl"),
        ("dˈɪd ju", "dˈɪʤə"),
        ("ɡˈOɪŋ.", "ɡˈOɪn."),
        ("tˈɛn bˈæɡz", "tˈɛm bˈæɡz"),
        ("wˈɑt?", "wˈɑʔ?"),
    ],
)
def test_sounds_run_into_one_another(fluent: str, slurred: str) -> None:
    everything = random.Random(0)
    everything.random = lambda: 0.0  # type: ignore[method-assign]
    assert manner._slurred(fluent, 1.0, everything) == slurred


@pytest.mark.parametrize("sound", [*manner.SLURS, *manner.ACCENTS])
def test_every_pattern_can_be_met(sound: tuple[str, str]) -> None:
    pattern, instead = sound
    spoken = (
        "ˌænd ðə θˈɪn ʤˈʌʤ wˈOnt vˈuʒ ɡˈO ʧˈɜɹʧ hˌɪz jˈʊɹ bˈɔɪŋ tˈWn bˈʊk. bˈYz dˈɪd ju mˈæst jɪt mˈɪs ju, "
        "ˈæskts wˈɑTəɹ fˈil klˈɔz wˈɪntəɹ bˈɛTəɹi bˈat "
        "pˈɒt dˈA mI ɡˈQ fˈit ʃˈi ɐn bˈɑTᵊl tˈɛn bˈæɡz kˈɔːɹ hˈæd "
        "kˈOsts ˈɛvəɹi"
    )
    assert re.sub(pattern, instead, spoken) != spoken


def test_lengths_are_uneven_and_one_on_average() -> None:
    drawn = [manner.lengths(40, random.Random(seed)) for seed in range(100)]
    assert all(row.min() > 0.0 and np.isclose(row.mean(), 1.0, atol=1e-5) for row in drawn)
    spreads = [np.log(row).std() for row in drawn]
    assert min(spreads) < 0.1
    assert max(spreads) > 0.4
