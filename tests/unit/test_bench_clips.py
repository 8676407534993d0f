"""What a measurement listens to."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ears_edge.bench.babble import babble
from ears_edge.bench.clips import load
from ears_edge.dsp.vad import new_detector
from ears_edge.errors import AudioFormatError
from tests.clips import OWN


def _wav(path: Path, *, seconds: float = 0.5, rate: int = 8000) -> str:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.zeros((round(seconds * rate), 2), np.int16), rate, subtype="PCM_16")
    return str(path)


def test_a_file_is_held_as_pcm_with_its_length(tmp_path: Path) -> None:
    (clip,) = load([_wav(tmp_path / "a.wav", seconds=0.5, rate=8000)])
    assert (clip.name, clip.fmt.rate, clip.fmt.channels, len(clip.pcm)) == ("a.wav", 8000, 2, 4000 * 4)
    assert clip.seconds == 0.5
    assert clip.reference is None


def test_files_of_the_same_name_keep_their_folders(tmp_path: Path) -> None:
    files = [_wav(tmp_path / "x" / "a.wav"), _wav(tmp_path / "y" / "a.wav"), _wav(tmp_path / "b.wav")]
    assert [clip.name for clip in load(files)] == [files[0], files[1], "b.wav"]


def test_a_file_named_twice_is_measured_once(tmp_path: Path) -> None:
    file = _wav(tmp_path / "a.wav")
    assert [clip.name for clip in load([file, file])] == ["a.wav"]


@pytest.mark.parametrize("sidecar", ["a.wav.txt", "a.txt"])
def test_what_is_said_is_taken_from_a_text_beside_the_file(tmp_path: Path, sidecar: str) -> None:
    (tmp_path / "MANIFEST.tsv").write_text("file\ttext\na.wav\tnot this\n", encoding="utf-8")
    (tmp_path / sidecar).write_text("\ufeffTurn on\nthe light.\n", encoding="utf-8")
    (clip,) = load([_wav(tmp_path / "a.wav")])
    assert clip.reference == "Turn on the light."


def test_what_is_said_is_taken_from_a_manifest_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.tsv").write_text(
        'file\tkind\ttext\na.wav\tx\tsay "hi"\nb.wav\tx\t\n', encoding="utf-8"
    )
    files = [_wav(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    assert [clip.reference for clip in load(files)] == ['say "hi"', "", None]


def test_a_transcript_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AudioFormatError, match=r"a\.txt: not UTF-8") as raised:
        load([_wav(tmp_path / "a.wav")])
    assert raised.value.code == "bad-file"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError, match=r"missing\.wav") as raised:
        load([str(tmp_path / "missing.wav")])
    assert raised.value.code == "file-not-found"


def test_the_projects_own_manifest_is_understood() -> None:
    clips = load([str(OWN / "kitchen_light_on.flac"), str(OWN / "silence.flac")])
    assert [clip.reference for clip in clips] == ["Turn on the kitchen light.", ""]


def test_without_files_there_is_one_clip_of_babble() -> None:
    (clip,) = load([])
    assert (clip.name, clip.seconds, clip.reference) == ("babble", 3.0, None)


def test_babble_is_taken_for_speech_and_noise_is_not() -> None:
    def share(sound: np.typing.NDArray[np.float32]) -> float:
        detector = new_detector()
        blocks = sound[: len(sound) - len(sound) % detector.block].reshape(-1, detector.block)
        return float(np.mean([detector.probability(block) > 0.5 for block in blocks]))

    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * np.float32(0.05)
    assert share(babble(3.0)) > 0.5
    assert share(noise) < 0.1


def test_babble_is_the_same_for_the_same_seed_and_stays_within_full_scale() -> None:
    one, same, other = babble(1.0), babble(1.0), babble(1.0, seed=1)
    assert len(one) == 16_000
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert 0.1 < np.abs(one).max() <= 1.0
    assert len(babble(0.0)) == 0
