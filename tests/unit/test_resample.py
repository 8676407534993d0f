import numpy as np
import pytest
import soxr

from ears_edge.audio.resample import Resampler
from ears_edge.units import F32, SAMPLE_RATE

RATES = [1_000, 7_999, 8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000, 768_000]
LENGTHS = [0, 1, 2, 3, 31_999]


def noise(length: int) -> F32:
    return np.random.default_rng(length).uniform(-0.9, 0.9, length).astype(np.float32)


def streamed(samples: F32, rate: int, block: int, to: int = SAMPLE_RATE) -> F32:
    resampler = Resampler(rate, to)
    out = [resampler.feed(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*out, resampler.flush()])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_stream_equals_its_one_shot_conversion(rate: int, length: int) -> None:
    samples = noise(length)
    whole = soxr.resample(samples, rate, SAMPLE_RATE, "HQ")
    for block in (1 if length < 10 else 97, 1_023, length + 1):
        np.testing.assert_allclose(streamed(samples, rate, block), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_length_is_exact(rate: int, length: int) -> None:
    assert len(streamed(noise(length), rate, 1_000)) == (2 * length * SAMPLE_RATE + rate) // (2 * rate)


@pytest.mark.parametrize("rate", RATES)
def test_the_result_does_not_depend_on_the_blocks_at_all(rate: int) -> None:
    samples = noise(5_000)
    once = streamed(samples, rate, 5_000)
    for block in (1, 160, 441, 4_096):
        np.testing.assert_array_equal(streamed(samples, rate, block), once)


@pytest.mark.parametrize(("rate", "lag_ms"), [(24_000, 40), (44_100, 42), (48_000, 40), (8_000, 120)])
def test_no_more_than_the_stated_time_is_held_back(rate: int, lag_ms: int) -> None:
    resampler = Resampler(rate)
    block = rate // 100
    out = 0
    for number in range(1, 201):
        out += len(resampler.feed(np.zeros(block, np.float32)))
        assert number * 10 - out * 1000 / SAMPLE_RATE <= lag_ms


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_level_and_place(rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate)
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    middle = slice(2_000, -2_000)
    np.testing.assert_allclose(
        streamed(tone.astype(np.float32), rate, 999)[middle], expected[middle], atol=1e-5
    )


def test_a_tone_above_what_16_khz_can_hold_is_not_heard() -> None:
    tone = np.sin(2 * np.pi * 9_000 * np.arange(48_000) / 48_000).astype(np.float32)
    assert float(np.abs(streamed(tone, 48_000, 480)[2_000:-2_000]).max()) < 1e-5


def test_equal_rates_hand_on_the_array_itself() -> None:
    samples = noise(100)
    resampler = Resampler(SAMPLE_RATE)
    assert resampler.feed(samples) is samples
    assert len(resampler.flush()) == 0


def test_any_target_rate_will_do() -> None:
    assert len(streamed(noise(16_001), 16_000, 1_000, to=24_000)) == 24_002


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_nothing_can_be_fed_after_the_flush(rate: int) -> None:
    resampler = Resampler(rate)
    resampler.flush()
    with pytest.raises(RuntimeError, match="after flush"):
        resampler.feed(noise(10))
    with pytest.raises(RuntimeError, match="after flush"):
        resampler.flush()
