import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_asr.preprocessors.numpy_preprocessor import NemoPreprocessorNumpy

from ears_edge.dsp.features import ColumnBuffer, LogMel, mel_filters, normalize
from ears_edge.units import F32, HOP

TOLERANCE = 2e-3
"""Of a normalized feature, whose deviation is 1. The rest comes from filters computed in float32 there."""


def noise(samples: int, seed: int = 0) -> F32:
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=samples) * np.exp(rng.normal(size=samples).cumsum() * 0.002)
    return (rough * 0.05).astype(np.float32)


def columns_of(audio: F32, n_mels: int, cuts: list[int]) -> F32:
    mel = LogMel(n_mels)
    blocks = np.split(audio, np.minimum(np.cumsum(cuts, dtype=int), len(audio)))
    return np.concatenate([*(mel.feed(block) for block in blocks), mel.flush()])


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("samples", [400, 16_000, 31_999, 53_421])
def test_features_equal_those_of_onnx_asr(n_mels: int, samples: int) -> None:
    audio = noise(samples)
    reference, lengths = NemoPreprocessorNumpy(f"nemo{n_mels}")(audio[None], np.array([samples]))
    ours = normalize(columns_of(audio, n_mels, []))
    assert ours.shape == (lengths[0], n_mels)
    assert np.abs(ours - reference[0].T[: lengths[0]]).max() < TOLERANCE


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([0, 1, 159, 160, 1279, 1280, 5000, 31_999]), st.lists(st.integers(0, 3000), max_size=20)
)
def test_columns_do_not_depend_on_the_cut_to_the_last_bit(samples: int, cuts: list[int]) -> None:
    audio = noise(samples)
    assert np.array_equal(columns_of(audio, 128, cuts), columns_of(audio, 128, []))


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 31_999])
def test_there_is_a_column_for_each_whole_hop(samples: int) -> None:
    assert columns_of(noise(samples), 128, []).shape == (samples // HOP, 128)


def test_columns_come_as_soon_as_their_samples_are_there() -> None:
    mel = LogMel(128)
    assert len(mel.feed(noise(7 * HOP + 199))) == 0
    assert len(mel.feed(noise(1))) == 8


def test_filters_have_unit_area_and_cover_all_bins_up_to_8_khz() -> None:
    filters = mel_filters(80)
    assert filters.shape == (257, 80)
    centres = filters.argmax(axis=0)
    assert (np.diff(centres) >= 0).all()
    assert filters.sum(axis=0) * 31.25 == pytest.approx(np.ones(80), abs=0.3)


def test_normalized_bins_have_mean_0_and_deviation_1() -> None:
    features = normalize(columns_of(noise(16_000), 128, []))
    assert features.mean(axis=0) == pytest.approx(np.zeros(128), abs=1e-4)
    assert features.std(axis=0, ddof=1) == pytest.approx(np.ones(128), abs=1e-3)


def test_the_buffer_keeps_what_may_be_needed_and_forgets_the_rest() -> None:
    buffer = ColumnBuffer(2)
    rows = np.arange(2000, dtype=np.float32).reshape(-1, 2)
    for begin in range(0, 1000, 100):
        buffer.append(rows[begin : begin + 100])
        buffer.forget(begin - 50)
    assert buffer.end == 1000
    assert np.array_equal(buffer.copy(850, 1000), rows[850:1000])
    with pytest.raises(RuntimeError):
        buffer.copy(849, 900)
    assert len(buffer._store) <= 1024
