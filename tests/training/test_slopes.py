"""What clips teach against what others ask for: known slopes, and clips that are taken as they are."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nemo")

from training import features  # noqa: E402  # as above
from training.corpus import Clip, write_shard  # noqa: E402
from training.slopes import agreement, change, main, sentences, whole  # noqa: E402


def clip(text: str, seconds: float) -> Clip:
    noise = np.random.default_rng(len(text)).normal(0, 1000, int(seconds * 16_000))
    return Clip(text, "hibari:voice", noise.astype(np.int16))


def test_slopes_agree_with_themselves_and_not_with_what_is_across() -> None:
    wanted, scale = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([1.0, 4.0, 1.0])
    assert agreement([(wanted, 2.0), (wanted, 4.0)], wanted, scale) == (100.0, 0.0, 3.0)
    across = torch.tensor([-1.0, 2.0, 7.0])
    assert agreement([(across, 1.0), (across, 1.0)], wanted, scale).mean == 0.0
    found = agreement([(-wanted, 1.0), (0.0 * wanted, 1.0)], wanted, scale)
    assert found.mean == -50.0
    assert abs(found.error - 50.0) < 1e-6


def test_all_sentences_are_taken_whole_and_those_of_a_word_or_two_left(tmp_path: Path) -> None:
    said = [clip("Open the door.", 1.0), clip("No.", 0.5), clip("It is late, and we are tired.", 40.0)]
    write_shard(tmp_path / "hibari-1-0000.npz", said)
    batches = list(whole(sentences(tmp_path)))
    assert [batch.columns.tolist() for batch in batches] == [[100], [4000]]
    assert sum(batch.seconds for batch in batches) == 41.0
    with pytest.raises(FileNotFoundError, match="3 words"):
        sentences(tmp_path / "nowhere")


def test_only_numbers_of_the_recipe_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CRISP", features.CRISP)
    change("features.CRISP=0.25")
    assert features.CRISP == 0.25
    for wrong in ("features.NOTHING=1", "os.PATH=1", "features.crisp=1", "CRISP=1", "features.CRISP=x"):
        with pytest.raises(ValueError, match=r"number of the recipe|Expecting value"):
            change(wrong)


def test_both_kinds_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shard(tmp_path / "hibari-1-0000.npz", [clip("Open the door.", 1.0), clip("Close the window.", 1.5)])
    monkeypatch.setattr("training.slopes.SECONDS", 2.0)
    monkeypatch.setattr("training.listening.BATCH_SECONDS", {"cpu": 4.0})
    monkeypatch.setattr("training.acoustics.ROOMS", 2)
    monkeypatch.setattr("training.acoustics.NOISES", 8)
    monkeypatch.setattr(features, "CRISP", features.CRISP)
    flags = ["--data", str(tmp_path), "--new", str(tmp_path), "--batches", "2", "--set", "features.CRISP=0"]
    monkeypatch.setattr("sys.argv", ["slopes", *flags])
    main()
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("as the recipe has them:")
    assert second.startswith("features.CRISP=0 :")
    monkeypatch.setattr("sys.argv", ["slopes", *flags[:-1], "features.NONE=1"])
    with pytest.raises(SystemExit):
        main()
    assert "is no number of the recipe" in capsys.readouterr().err
