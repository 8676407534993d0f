"""What the evaluation hears. Runs where the training's requirements are installed."""

from pathlib import Path

import numpy as np
import pytest

for package in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(package)

from training.corpus import Clip, write_shard  # noqa: E402  # only where the training's requirements are
from training.evaluate import new_sets  # noqa: E402


def test_new_clips_make_one_set_for_each_tool_and_seed(tmp_path: Path) -> None:
    speech = np.full(1600, 16384, np.int16)
    for shard, texts in {
        "kokoro-7-0000": ["One.", "Two."],
        "kokoro-7-0001": ["Three."],
        "hibari-7-0000": ["Four."],
    }.items():
        write_shard(tmp_path / f"{shard}.npz", [Clip(text, "tool:voice", speech) for text in texts])
    sets = new_sets(tmp_path)
    assert {name: [clip.text for clip in clips] for name, clips in sets.items()} == {
        "new clips, hibari-7": ["Four."],
        "new clips, kokoro-7": ["One.", "Two.", "Three."],
    }
    sound = sets["new clips, hibari-7"][0].sound
    assert sound.dtype == np.float32
    assert sound.tolist() == [0.5] * 1600
