import gzip
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

import av

from training.corpus import RATE
from training.prompts import PEAK, SILENCE, prompts

TEXTS = """; Core Sounds

digits/first: First
vm-goodbye: Goodbye.
at-tone: [a tone]
press: Press 1 or #.
long: All of it.
gone: Nobody has recorded this.
"""


def write_tone(path: Path, seconds: float) -> None:
    path.parent.mkdir(exist_ok=True)
    tone = np.sin(np.arange(int(seconds * RATE)) * 0.3) * 3000
    with av.open(str(path), "w", format="g722") as opened:
        stream = opened.add_stream("g722", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            opened.mux(packet)


def test_what_is_read_as_it_is_written_becomes_a_clip(tmp_path: Path) -> None:
    (tmp_path / "texts.gz").write_bytes(gzip.compress(TEXTS.encode()))
    for name in ("digits/first", "vm-goodbye", "at-tone", "press"):
        write_tone(tmp_path / f"{name}.g722", 0.5)
    write_tone(tmp_path / "long.g722", 14.9)
    clips = list(prompts(tmp_path, tmp_path / "texts.gz"))
    assert [clip.text for clip in clips] == ["First.", "Goodbye."]
    assert {clip.tool for clip in clips} == {"prompts"}
    for clip in clips:
        assert len(clip.speech) == pytest.approx(0.5 * RATE + 2 * SILENCE, abs=400)
        assert not clip.speech[:SILENCE].any()
        assert np.abs(clip.speech).max() == pytest.approx(PEAK * 32767, rel=0.01)


def test_packages_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Install asterisk-core-sounds-en-g722"):
        list(prompts(tmp_path / "none", tmp_path / "none.gz"))
