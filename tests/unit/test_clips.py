"""tests/data is what its manifest says it is."""

import numpy as np
import pytest
import soundfile

from tests.clips import OWN, Clip, clip, clips

HELD_OUT = ("bm_daniel", "af_nova", "am_eric", "joe")


@pytest.mark.parametrize("own_clip", clips(own=True), ids=lambda clip: clip.name)
def test_a_clip_is_16_bit_mono_flac_of_the_rate_and_length_in_the_manifest(own_clip: Clip) -> None:
    info = soundfile.info(own_clip.path)
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    assert info.samplerate == own_clip.rate
    assert info.frames / info.samplerate == pytest.approx(own_clip.seconds, abs=0.01)
    assert len(own_clip.pcm()) == 2 * info.frames


@pytest.mark.parametrize("own_clip", clips(own=True), ids=lambda clip: clip.name)
def test_a_clip_has_a_text_exactly_if_somebody_speaks(own_clip: Clip) -> None:
    spoken = own_clip.kind != "nonspeech"
    assert bool(own_clip.text) == bool(own_clip.voice) == spoken


def test_there_are_enough_clips_of_each_kind() -> None:
    assert len(clips("command", own=True)) >= 28
    assert len([reading for reading in clips("reading", own=True) if 16 <= reading.seconds <= 45]) >= 5
    assert len(clips("nonspeech", own=True)) >= 4
    assert len({own.voice for own in clips(own=True) if own.voice}) >= 6
    assert len({own.rate for own in clips(own=True)}) >= 4


def test_every_file_is_in_the_manifest_once() -> None:
    assert sorted(own.path.name for own in clips(own=True)) == sorted(
        path.name for path in OWN.glob("*.flac")
    )


def test_the_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in OWN.iterdir()) <= 4_000_000


def test_no_clip_is_spoken_by_a_voice_that_models_are_judged_by() -> None:
    assert not [own.name for own in clips(own=True) if any(voice in own.voice for voice in HELD_OUT)]


def test_one_reading_pauses_a_second_between_sentences_and_one_never_half_a_second() -> None:
    assert 1.0 <= _longest_silence_s(clip("reading_morning")) < 1.3
    assert _longest_silence_s(clip("reading_no_pause")) < 0.35
    assert clip("reading_long").seconds > 40


def _longest_silence_s(reading: Clip) -> float:
    """The longest stretch inside (not at the ends) that stays under 1 % of full scale."""
    loud = np.flatnonzero(np.abs(reading.samples().astype(np.int32)) > 328)
    return float(np.diff(loud).max()) / reading.rate
