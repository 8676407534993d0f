"""Spoken sentences on disk: shards of 16 kHz speech with the text and the voice of each clip."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Speech = npt.NDArray[np.int16]
"""(N,) int16 mono at 16 kHz."""

RATE = 16_000
SHARD_CLIPS = 200


class Clip(NamedTuple):
    """One spoken sentence."""

    text: str
    """As the model shall write it: cased, punctuated."""
    voice: str
    """`tool:voice`; the tool decides how often the clip is drawn."""
    speech: Speech

    @property
    def tool(self) -> str:
        """The synthesizer's name."""
        return self.voice.partition(":")[0]


def write_shard(path: Path, clips: Iterable[Clip]) -> None:
    """Write clips as one `.npz`; it appears whole or not at all."""
    rows = list(clips)
    about = json.dumps([(clip.text, clip.voice, len(clip.speech)) for clip in rows])
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(file, speech=np.concatenate([clip.speech for clip in rows]), about=np.array(about))
    unfinished.rename(path)


def read_shard(path: Path) -> Iterator[Clip]:
    """Yield the clips of one shard; their speech is a view of one array."""
    with np.load(path) as shard:
        speech, about = shard["speech"], json.loads(str(shard["about"]))
    start = 0
    for text, voice, length in about:
        yield Clip(text, voice, speech[start : start + length])
        start += length
