import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ears_edge.dsp.vad import (
    _IDLE,
    FAINT,
    PAUSE,
    REST_AFTER,
    SHORT,
    MicroDetector,
    SileroDetector,
    SpeechDetector,
    VoiceActivity,
    new_detector,
)
from ears_edge.units import F32
from tests.clips import clips
from tests.fakes import LateDetector, LoudDetector, tone

DETECTORS = [MicroDetector, SileroDetector]


def loud(pattern: list[tuple[int, int]]) -> F32:
    """(level, samples) runs."""
    return np.concatenate([np.full(n, 0.5 if level else 0.0, np.float32) for level, n in pattern])


class DeafDetector(LoudDetector):
    """Tells of nothing."""

    def probability(self, block: F32) -> float:  # noqa: ARG002  # whatever it is
        return 0.0


def over(audio: F32, detector: SpeechDetector) -> VoiceActivity:
    """The audio was all there is."""
    voice = VoiceActivity(detector)
    voice.feed(audio)
    voice.finish()
    return voice


@pytest.mark.parametrize(
    ("detector", "rate"),
    [(MicroDetector, None), (SileroDetector, None), (MicroDetector, 24_000), (MicroDetector, 48_000)],
)
def test_speech_is_heard_in_every_clip(detector: type[SpeechDetector], rate: int | None) -> None:
    spoken = [clip for clip in clips() if clip.kind != "nonspeech"]
    voices = {clip.name: over(clip.heard(rate), detector()) for clip in spoken}
    assert not [name for name, voice in voices.items() if voice.speech(0, 10**9) is None]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 150), st.integers(1, 150), st.integers(0, 150), st.sampled_from([0.0, 0.01]))
def test_a_short_word_that_the_detector_misses_is_speech_once_it_is_over(
    before: int, word: int, after: int, floor: float
) -> None:
    audio = np.full((before + word + after) * 160, floor, np.float32)
    audio[before * 160 : (before + word) * 160] = 0.3
    span = over(audio, DeafDetector()).speech(0, 10**9)
    # Something must be quiet, or it may as well be a machine.
    if before + after >= 0.15 * (before + word + after):
        assert span == (before * 160, (before + word) * 160)
    elif before + after == 0:
        assert span is None


@given(st.lists(st.integers(0, 16_000), max_size=20))
def test_what_a_detector_misses_does_not_depend_on_the_cut(cuts: list[int]) -> None:
    audio = loud([(0, 40_000), (1, 8000), (0, 24_000)])
    voice = VoiceActivity(DeafDetector())
    for block in np.split(audio, np.minimum(np.cumsum(cuts, dtype=int), len(audio))):
        voice.feed(block)
    voice.finish()
    assert voice.speech(0, 10**9) == (40_000, 48_000)


@pytest.mark.parametrize("at", [0, SHORT - 8000])
def test_the_loudness_of_long_audio_tells_nothing(at: int) -> None:
    audio = np.zeros(SHORT + 160, np.float32)
    audio[at : at + 8000] = 0.5
    assert over(audio[:-160], DeafDetector()).speech(0, 10**9) == (at, at + 8000)
    assert over(audio, DeafDetector()).speech(0, 10**9) is None


def test_a_faint_noise_is_no_word() -> None:
    audio = loud([(0, 8000), (1, 8000), (0, 8000)]) * FAINT
    assert over(audio, DeafDetector()).speech(0, 10**9) is None


@pytest.mark.parametrize("detector", DETECTORS)
def test_silence_and_steady_noise_are_not_speech(detector: type[SpeechDetector]) -> None:
    noise = np.random.default_rng(0).normal(size=32_000).astype(np.float32) * 0.1
    for audio in (np.zeros(32_000, np.float32), noise, np.zeros(0, np.float32)):
        assert over(audio, detector()).speech(0, 10**9) is None


def test_this_platform_has_a_detector() -> None:
    assert 0.0 <= new_detector().probability(np.zeros(new_detector().block, np.float32)) <= 1.0


def test_silences_are_told_where_they_are() -> None:
    voice = VoiceActivity(LoudDetector())
    voice.feed(loud([(0, 8000), (1, 8000), (0, 1600), (1, 4800), (0, 16_000)]))
    assert voice.silences(0, 100_000) == [(0, 8000), (22_400, 38_400)]  # 0.1 s is a gap inside a word
    assert voice.silences(4000, 30_000) == [(4000, 8000), (22_400, 30_000)]
    assert voice.last_told == 22_400


def test_a_pause_is_told_once_after_six_tenths_of_a_second() -> None:
    voice = VoiceActivity(LoudDetector())
    assert voice.feed(loud([(0, 32_000), (1, 3200), (0, 9440)])) == []
    assert voice.feed(loud([(0, 320)])) == [35_200]
    assert voice.feed(loud([(0, 32_000), (1, 3200)])) == []
    assert voice.feed(loud([(0, 16_000)])) == [80_160]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=20), st.integers(0, 40), st.integers(0, 200))
def test_a_detector_that_lags_tells_of_the_same_places(levels: list[int], blocks: int, rest: int) -> None:
    audio = np.concatenate((tone(levels, 4), tone([3], 1)[:rest]))
    prompt, late = VoiceActivity(LoudDetector()), VoiceActivity(LateDetector(blocks))
    pauses = prompt.feed(audio)
    whole = len(audio) // 160 * 160
    known = max(0, whole - blocks * 160)
    assert late.feed(audio) == [at for at in pauses if at + PAUSE <= known]
    assert late.silences(0, known) == prompt.silences(0, known)
    late.finish()
    assert late.speech(0, whole) == prompt.speech(0, whole)


def test_speech_is_from_the_first_to_the_last_of_it() -> None:
    voice = VoiceActivity(LoudDetector())
    voice.feed(loud([(0, 8000), (1, 8000), (0, 8000), (1, 4800), (0, 3200)]))
    assert voice.speech(0, 32_000) == (8000, 28_800)
    assert voice.speech(10_000, 32_000) == (10_000, 28_800)
    assert voice.speech(0, 26_000) == (8000, 26_000)  # it goes on
    assert voice.speech(16_000, 24_000) is None
    assert voice.speech(28_800, 32_000) is None
    assert voice.speech(32_000, 40_000) is None
    assert VoiceActivity(LoudDetector()).speech(0, 1600) is None


def test_a_detector_is_not_asked_about_long_faint_audio() -> None:
    detector = LateDetector(30)
    voice = VoiceActivity(detector)
    faint = np.full(16_000, FAINT / 2, np.float32)
    for _ in range(10):
        voice.feed(faint)
    assert detector.asked == REST_AFTER // 160
    voice.feed(loud([(1, 8000)]))
    assert detector.asked == REST_AFTER // 160 + 50
    assert voice.speech(0, 168_000) == (160_000, 168_000)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 5), max_size=20), st.lists(st.integers(0, 4000), max_size=20))
def test_what_is_told_does_not_depend_on_the_cut(levels: list[int], cuts: list[int]) -> None:
    audio = tone(levels, 4)
    whole, cut = VoiceActivity(LoudDetector()), VoiceActivity(LoudDetector())
    told = whole.feed(audio)
    blocks = np.split(audio, np.minimum(np.cumsum(cuts, dtype=int), len(audio)))
    assert [at for block in blocks for at in cut.feed(block)] == told
    assert cut.silences(0, len(audio)) == whole.silences(0, len(audio))
    assert cut.last_told == whole.last_told


def test_a_detector_that_was_used_for_another_stream_hears_as_a_new_one() -> None:
    block = MicroDetector.block
    speech = next(clip for clip in clips() if clip.own and clip.kind == "command").heard()
    blocks = speech[: len(speech) // block * block].reshape(-1, block)
    _IDLE.clear()
    detector = MicroDetector()
    fresh = [detector.probability(each) for each in blocks]
    native = detector._vad
    del detector
    again = MicroDetector()
    assert again._vad is native  # the library frees none: a server would grow with each utterance
    assert [again.probability(each) for each in blocks] == fresh
