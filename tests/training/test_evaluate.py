"""What the evaluation hears. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
for package in ("soxr", "scipy"):
    pytest.importorskip(package)

from ears_edge.wer import WordErrors  # noqa: E402  # only where the training's requirements are
from training.corpus import Clip, write_shard  # noqa: E402
from training.evaluate import EMBEDDED, Heard, hearings, main, new_sets, row, score  # noqa: E402
from training.recognizers import Ours  # noqa: E402


def test_new_clips_make_two_sets_for_each_tool_and_seed_clean_and_in_noise(tmp_path: Path) -> None:
    speech = np.full(1600, 16384, np.int16)
    for shard, texts in {
        "kokoro-7-0000": ["One.", "Two."],
        "kokoro-7-0001": ["Three."],
        "hibari-7-0000": ["Four."],
    }.items():
        write_shard(tmp_path / f"{shard}.npz", [Clip(text, "tool:voice", speech) for text in texts])
    sets = new_sets(tmp_path)
    clean = {
        "new clips, hibari-7": ["Four."],
        "new clips, kokoro-7": ["One.", "Two.", "Three."],
    }
    noisy = {f"{name}, 10 dB noise in a room": said for name, said in clean.items()}
    assert {name: [clip.text for clip in clips] for name, clips in sets.items()} == clean | noisy
    sound = sets["new clips, hibari-7"][0].sound
    assert sound.dtype == np.float32
    assert sound.tolist() == [0.5] * 1600


def test_a_clip_is_heard_a_little_later_and_softer_each_time() -> None:
    sound = np.ones(4, np.float32)
    heard = list(hearings(sound, 3))
    assert [len(again) for again in heard] == [4, 4 + 48, 4 + 96]
    assert [again.dtype for again in heard] == [np.float32] * 3
    assert heard[0].tolist() == sound.tolist()
    assert not heard[2][:96].any()
    assert heard[2][96:] == pytest.approx(0.9)


def test_the_score_is_the_mean_of_all_hearings(capsys: pytest.CaptureFixture[str]) -> None:
    def hears(sound: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
        return "Stop now." if len(sound) == 4 else "Stop."

    clips = [Heard("a", "Stop now.", np.ones(4, np.float32))]
    once, often = score(hears, clips, 1, words=False), score(hears, clips, 4, words=True)
    assert (once, often) == (WordErrors(0, 2), WordErrors(3, 8))
    assert row("a set", clips, {"ours": once}, 1) == "| a set | 1 | 2 | 0.0 % (0) |"
    assert row("a set", clips, {"ours": often}, 4) == "| a set | 1 | 2 | 37.5 % (0.75) |"
    number = [Heard("b", "21 now.", np.ones(9, np.float32))]
    assert row("a set", number, {"ours": score(hears, number, 2, words=False)}, 2).startswith(
        "| a set | 1 | 3 |"
    )
    assert capsys.readouterr().err.splitlines()[1] == "1/2\ta\tStop now.\tStop."


def test_what_chooses_between_models_is_printed_and_summed_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two clips of two words, once clean and once in noise, one of the words wrong each time: 4 of 8."""
    speech = (np.hanning(1600) * 9000).astype(np.int16)
    for tool in ("kokoro", "hibari"):
        write_shard(tmp_path / f"{tool}-7-0000.npz", [Clip("Stop now.", "tool:voice", speech)])
    own = {"real recorded commands": [Heard("a", "Stop.", np.ones(1600, np.float32))]}
    monkeypatch.setattr("training.evaluate.test_sets", lambda *_: own)
    monkeypatch.setattr("training.evaluate.Ours", lambda _folder, **_: lambda _sound: "Stop.")
    monkeypatch.setattr("sys.argv", ["evaluate", "--new", str(tmp_path), "--starts", "2"])
    main()
    rows = capsys.readouterr().out.splitlines()
    assert "| real recorded commands | 1 | 1 | 0.0 % (0) |" in rows
    assert "| new clips, kokoro-7, 10 dB noise in a room | 1 | 2 | 50.0 % (1) |" in rows
    assert "| all new clips | 4 | 8 | 50.0 % (4) |" in rows


@pytest.mark.parametrize("flags", [[], ["--optimized"]])
def test_a_model_that_can_not_be_used_is_one_line(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate", "--model", str(tmp_path), *flags])
    with pytest.raises(SystemExit):
        main()
    assert str(tmp_path) in capsys.readouterr().err.splitlines()[-1]


def test_an_optimized_encoder_hears_the_same_as_the_models_own() -> None:
    clip = Path(__file__).parents[1] / "data" / "kitchen_light_on.flac"
    sound, _ = soundfile.read(clip, dtype="float32")
    own, optimized = Ours(EMBEDDED)(sound), Ours(EMBEDDED, optimized=True)(sound)
    assert own == optimized
    assert "kitchen" in own
