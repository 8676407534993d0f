import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.asr import ctc
from ears_edge.asr.ctc import CtcHead
from ears_edge.errors import ModelCorruptError, ModelError, ModelNotFoundError
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32

BLANK = 2


def head(seed: int, temperature: float = 1.0) -> CtcHead:
    rng = np.random.default_rng(seed)
    return CtcHead(rng.normal(size=(3, 2)), rng.normal(size=3), temperature=temperature)


def noise(seed: int, length: int) -> F32:
    return np.random.default_rng(seed + 1).normal(size=(length, 2)).astype(np.float32)


def chances(seed: int, frames: F32, temperature: float) -> dict[tuple[int, ...], float]:
    """The chance of each text: that of all ways to write it, one token or blank a frame."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(3, 2)), rng.normal(size=3)
    each = np.exp((frames @ weight.T + bias) / temperature)
    each /= each.sum(axis=1, keepdims=True)
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for way in itertools.product(range(3), repeat=len(frames)):
        text = tuple(token for token, _ in itertools.groupby(way) if token != BLANK)
        found[text] += math.prod(each[t, token] for t, token in enumerate(way))
    return found


@given(st.integers(0, 500), st.integers(0, 5), st.sampled_from([1.0, 2.0]))
def test_the_chance_of_a_text_is_that_of_all_ways_to_write_it(
    seed: int, length: int, temperature: float
) -> None:
    frames = noise(seed, length)
    found = chances(seed, frames, temperature)
    nats = head(seed, temperature).scores(frames, list(found))
    assert sum(found.values()) == pytest.approx(1)
    assert nats == pytest.approx([math.log(chance) for chance in found.values()], abs=1e-4)


@given(st.integers(0, 500), st.lists(st.lists(st.sampled_from([0, 1]), max_size=6), min_size=1, max_size=5))
def test_a_text_scores_the_same_beside_others_and_alone(seed: int, texts: list[list[int]]) -> None:
    frames, judge = noise(seed, 20), head(seed)
    assert judge.scores(frames, texts) == pytest.approx([judge.scores(frames, [text])[0] for text in texts])


def test_what_needs_more_frames_than_there_are_is_all_but_impossible() -> None:
    fits, fits_not = head(1).scores(noise(1, 3), [[0, 0], [0, 0, 0]])
    assert fits > -20
    assert -1000 < fits_not < -200


def test_no_texts_have_no_scores() -> None:
    assert head(1).scores(noise(1, 3), []) == []


def test_long_speech_does_not_vanish() -> None:
    weight = np.zeros((3, 2))
    (nats,) = CtcHead(weight, np.zeros(3)).scores(noise(1, 2000), [[]])
    assert nats == pytest.approx(2000 * math.log(1 / 3))


@pytest.mark.parametrize("every", [1, 3, 100])
def test_it_does_not_matter_how_often_it_is_rescaled(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    texts = [[0, 1, 1], [], [1]]
    usual = head(3).scores(noise(3, 40), texts)
    monkeypatch.setattr(ctc, "RESCALED", every)
    assert head(3).scores(noise(3, 40), texts) == pytest.approx(usual)


def save(path: Path, **changed: npt.NDArray[Any]) -> Path:
    arrays = {"weight": np.ones((3, 2), np.float16), "bias": np.zeros(3, np.float16)}
    np.savez(path, allow_pickle=True, **(arrays | changed))
    return path


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    loaded = CtcHead.load(save(tmp_path / "ctc.npz"), vocabulary=3, size=2)
    assert loaded.scores(np.ones((1, 2), np.float32), [[0]]) == pytest.approx([math.log(1 / 3)])


def with_table(**changed: npt.NDArray[Any]) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        save(path, **changed)

    return harm


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        pytest.param(lambda path: path.unlink(), ModelNotFoundError, "ctc_weight", id="missing"),
        pytest.param(lambda path: path.write_bytes(b"no zip"), ModelCorruptError, "Fetch", id="no archive"),
        pytest.param(
            with_table(weight=np.ones((4, 2))), ModelCorruptError, "expected", id="other vocabulary"
        ),
        pytest.param(with_table(weight=np.ones((3, 3))), ModelCorruptError, "expected", id="other frames"),
        pytest.param(with_table(bias=np.ones(4)), ModelCorruptError, "does not fit", id="other bias"),
        pytest.param(with_table(bias=np.full(3, np.nan)), ModelCorruptError, "numbers", id="not a number"),
        pytest.param(
            with_table(bias=np.array([object()] * 3)), ModelCorruptError, "allow_pickle", id="objects"
        ),
    ],
)
def test_a_fault_names_the_file(
    tmp_path: Path, harm: Callable[[Path], None], error: type[ModelError], said: str
) -> None:
    path = save(tmp_path / "ctc.npz")
    harm(path)
    with pytest.raises(error) as caught:
        CtcHead.load(path, vocabulary=3, size=2)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_embedded_model_has_one() -> None:
    folder = ModelFolder.open(resolve("embedded"))
    assert folder.ctc
    CtcHead.load(folder.ctc, vocabulary=len(folder.pieces), size=144)
