"""Kokoro's small vocoder, and how it is taught. Runs where the training's requirements are installed."""

import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("soxr")
pytest.importorskip("hibari")

from training import teach_vocoder  # noqa: E402
from training.kokoro import (  # noqa: E402  # only where the training's requirements are
    PITCHES,
    TIMBRE,
    sung_otherwise,
)
from training.kokoro import VOCODER_RATE as RATE  # noqa: E402
from training.teach_vocoder import KEPT_BACK, Lesson, left, lesson, teach  # noqa: E402
from training.vocoder import FEATURES, FRAME, Vocoder, difference, load, pulses, save  # noqa: E402

SECOND = RATE // FRAME


def levels(sound: np.ndarray) -> np.ndarray:
    """Power a hertz, from 0 to 8000, of the first second."""
    return np.abs(np.fft.rfft(sound[:RATE] * np.hanning(RATE))) ** 2


@pytest.mark.parametrize("hertz", [70.0, 125.0, 333.0])
def test_pulses_are_the_pitch_s_harmonics_and_nothing_else(hertz: float) -> None:
    level = levels(pulses(np.full(2 * SECOND, hertz, np.float32)))
    near = np.abs((np.arange(len(level)) + hertz / 2) % hertz - hertz / 2) <= 3
    assert level[near].sum() > 0.99 * level.sum()
    harmonics = [
        level[round(k * hertz) - 2 : round(k * hertz) + 3].sum() for k in range(1, int(7900 / hertz))
    ]
    assert max(harmonics) < 1.2 * min(harmonics)


def test_pulses_are_as_strong_at_any_pitch_and_none_where_nothing_is_voiced() -> None:
    low, high = (pulses(np.full(SECOND, hertz, np.float32)).std() for hertz in (80.0, 320.0))
    assert 0.8 < low / high < 1.25
    assert not pulses(np.full(SECOND, 5.0, np.float32)).any()
    half = pulses(np.repeat(np.array([150.0, 0.0], np.float32), SECOND))
    assert half[: RATE - FRAME].std() > 0.3
    assert not half[RATE + FRAME :].any()


def whistling(harmonics: float, noise: float) -> Vocoder:
    """One that colours nothing: its envelopes are what is given (natural logarithms), at all times."""
    vocoder: Vocoder = Vocoder()
    vocoder.eval()
    with torch.no_grad():
        vocoder.give.weight.zero_()
        bias = vocoder.give.bias.view(2, -1)
        bias[0], bias[1] = harmonics, noise
    return vocoder


def said(vocoder: Vocoder, hertz: float, sung: float, breath: float = 0.0) -> np.ndarray:
    features = np.zeros((FEATURES, 2 * SECOND), np.float32)
    pitch, heard = (np.full(2 * SECOND, value, np.float32) for value in (hertz, sung))
    return vocoder.say(features, pitch, np.zeros(TIMBRE, np.float32), heard, breath)


def test_it_is_heard_at_the_pitch_that_is_sung() -> None:
    sound = said(whistling(3.0, -50.0), 100.0, 160.0)
    assert sound.shape == (2 * RATE,)
    assert sound.dtype == np.float32
    level = levels(sound)
    at, between = level[160 * 5 - 2 : 160 * 5 + 3].sum(), level[160 * 5 + 60 : 160 * 5 + 100].sum()
    assert at > 100 * between


def test_breath_is_so_many_decibels_of_noise() -> None:
    torch.manual_seed(3)
    vocoder = whistling(-50.0, 0.0)
    loud, soft = (said(vocoder, 100.0, 100.0, breath).std() for breath in (6.0, -6.0))
    assert 20 * np.log10(loud / soft) == pytest.approx(12.0, abs=0.5)


def test_the_difference_grows_with_what_is_missed() -> None:
    rng = np.random.default_rng(1)
    noise = torch.from_numpy(rng.normal(0, 0.1, (2, RATE)).astype(np.float32))
    other = torch.from_numpy(rng.normal(0, 0.1, (2, RATE)).astype(np.float32))
    same, alike, louder = (float(difference(sound, noise)) for sound in (noise, other, 3 * other))
    assert same == 0
    assert 0 < alike < louder


def test_what_is_saved_says_the_same(tmp_path: Path) -> None:
    vocoder = whistling(3.0, -50.0)
    save(vocoder, tmp_path / "vocoder.safetensors")
    again = load(tmp_path / "vocoder.safetensors")
    np.testing.assert_allclose(said(again, 90.0, 90.0), said(vocoder, 90.0, 90.0), atol=1e-2)


def test_the_one_in_the_repository_speaks() -> None:
    sound = said(load(Path(teach_vocoder.__file__).with_name("vocoder.safetensors")), 120.0, 120.0)
    assert sound.shape == (2 * RATE,)
    assert np.isfinite(sound).all()
    assert sound.std() > 0


def test_it_learns_what_a_voice_sounds_like() -> None:
    """The voice is loud where its first feature is, and soft elsewhere."""
    rng = np.random.default_rng(0)

    def one() -> Lesson:
        loud = (np.arange(3 * SECOND) // 40) % 2
        features = np.zeros((FEATURES, len(loud)), np.float32)
        features[0] = 3.0 * loud
        pitch = np.full(len(loud), rng.uniform(90, 250), np.float32)
        own = pulses(pitch) * np.repeat(0.02 + 0.2 * loud, FRAME).astype(np.float32)
        again = np.interp(np.arange(len(own) * 3 // 2) / 1.5, np.arange(len(own)), own)
        return lesson(features, pitch, np.zeros(TIMBRE, np.float32), again.astype(np.float32))

    heard = [one() for _ in range(KEPT_BACK + 4)]
    torch.manual_seed(0)
    vocoder = Vocoder()
    before = left(vocoder, heard[:KEPT_BACK])
    teach(vocoder, heard, 40, rng)
    assert left(vocoder, heard[:KEPT_BACK]) < 0.6 * before
    with pytest.raises(ValueError, match="too few"):
        teach(vocoder, heard[:KEPT_BACK], 1, rng)


def test_a_pitch_is_sung_otherwise_but_only_where_there_is_one() -> None:
    pitch = np.repeat(np.array([5.0, 110.0, 140.0, 3.0], np.float32), 40)
    drawn = [sung_otherwise(pitch, random.Random(seed)) for seed in range(200)]
    for sung in drawn:
        np.testing.assert_array_equal(sung[pitch < 10], pitch[pitch < 10])
        assert sung[pitch > 10].min() >= PITCHES[0]
        assert sung[pitch > 10].max() <= PITCHES[1]
    middles = np.array([np.median(sung[pitch > 10]) for sung in drawn]) / 125
    assert 0.08 < np.log(middles).std() < 0.2
    np.testing.assert_array_equal(sung_otherwise(np.zeros(9, np.float32), random.Random(0)), np.zeros(9))
