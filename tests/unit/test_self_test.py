"""A model that hears the known clip passes; one that hears something else does not."""

from dataclasses import replace

import pytest

from ears_edge.asr.tdt import Token
from ears_edge.engine import self_test
from ears_edge.engine.recognizer import Decoded, TdtRecognizer, Work
from ears_edge.engine.self_test import GOLDEN_TEXT
from ears_edge.models.folder import EMBEDDED, resolve
from tests.fakes import FakeRecognizer


class Deaf(FakeRecognizer):
    """Hears nothing, and has the right number of mel bins for the clip."""

    def decode(self, work: Work) -> Decoded:
        decoded = super().decode(work)
        return Decoded([], decoded.state)


@pytest.fixture(scope="module")
def embedded() -> TdtRecognizer:
    return TdtRecognizer.load(resolve(EMBEDDED), threads=1)


def test_the_embedded_model_passes(embedded: TdtRecognizer) -> None:
    assert self_test.test_recognizer(embedded) == ("passed", "")


def test_a_model_that_hears_something_else_fails_and_says_what() -> None:
    verdict = self_test.test_recognizer(FakeRecognizer())
    assert verdict.outcome == "failed"
    assert GOLDEN_TEXT in verdict.fault
    assert "'w" in verdict.fault


def test_silence_is_a_wrong_answer() -> None:
    assert self_test.test_recognizer(Deaf()).fault == f"it heard '' where the test clip says {GOLDEN_TEXT!r}"


def test_a_model_that_cannot_be_run_fails_whatever_it_speaks() -> None:
    broken = FakeRecognizer()
    broken.info = replace(broken.info, languages=("de",))
    broken.fail = True
    assert self_test.test_recognizer(broken).outcome == "failed"


@pytest.mark.parametrize("languages", [(), ("de", "fr")])
def test_a_model_of_other_languages_is_not_judged_by_an_english_clip(languages: tuple[str, ...]) -> None:
    german = Deaf()
    german.info = replace(german.info, languages=languages)
    assert self_test.test_recognizer(german).outcome == "not judged"


def test_half_of_the_words_are_enough(embedded: TdtRecognizer) -> None:
    class Hasty(TdtRecognizer):
        kept = 0

        def __init__(self) -> None:
            self.__dict__ = dict(embedded.__dict__)

        def decode(self, work: Work) -> Decoded:
            decoded = embedded.decode(work)
            return Decoded(_words(decoded.tokens, self, self.kept), decoded.state)

    hasty = Hasty()
    outcomes = []
    for hasty.kept in (3, 2):
        outcomes.append(self_test.test_recognizer(hasty).outcome)
    assert outcomes == ["passed", "failed"]


def _words(tokens: "object", recognizer: TdtRecognizer, count: int) -> list[Token]:
    """The tokens of the first words."""
    assert isinstance(tokens, list)
    kept: list[Token] = []
    for token in tokens:
        if len(recognizer.tokenizer.decode([one.id for one in [*kept, token]]).split()) > count:
            break
        kept.append(token)
    return kept
