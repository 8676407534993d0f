"""The clips that tests hear: tests/data, and the folder of real recordings beside the checkout, if any."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ears_edge.audio.converter import Converter
from ears_edge.audio.pcm import PcmFormat
from ears_edge.audio.resample import Resampler
from ears_edge.units import F32

Kind = Literal["command", "reading", "nonspeech"]

OWN = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech"
"""English clips under other licences: used where they are, never part of this repository."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One mono FLAC file and what is said in it."""

    path: Path
    text: str
    """Empty for non-speech."""
    kind: Kind
    seconds: float
    rate: int
    """Hz."""
    voice: str
    """`tool:voice`; empty for non-speech and for real recordings."""
    own: bool
    """True for a clip of this project."""

    @property
    def name(self) -> str:
        """The file's name without its suffix; unique among all clips."""
        return self.path.stem

    def samples(self) -> npt.NDArray[np.int16]:
        """(N,) int16, mono, at the clip's own rate."""
        data, _ = soundfile.read(self.path, dtype="int16", always_2d=True)
        return np.ascontiguousarray(data[:, 0], np.int16)

    def pcm(self) -> bytes:
        """The samples as 16-bit little-endian bytes."""
        return self.samples().astype("<i2").tobytes()

    def at(self, rate: int) -> npt.NDArray[np.int16]:
        """(N,) int16, mono, brought to another rate, Hz."""
        samples = self.samples()
        if rate == self.rate:
            return samples
        resampler = Resampler(self.rate, rate)
        floats = samples.astype(np.float32) / np.float32(32768)
        resampled = np.concatenate((resampler.feed(floats), resampler.flush()))
        return np.clip(np.rint(resampled * 32768), -32768, 32767).astype(np.int16)

    def heard(self, rate: int | None = None) -> F32:
        """(N,) float32 at 16 kHz, as the engine hears the clip when it comes at that rate, or at its own."""
        rate = rate or self.rate
        converter = Converter()
        samples = converter.feed(self.at(rate).astype("<i2").tobytes(), PcmFormat(rate, 2, 1))
        return np.concatenate((samples, converter.flush()))


@cache
def clips(kind: Kind | None = None, *, own: bool | None = None) -> tuple[Clip, ...]:
    """All English and all non-speech clips, this project's first; narrowed by `kind` and `own`."""
    return tuple(
        clip
        for clip in (*_read(OWN, own=True), *(_read(SHARED, own=False) if SHARED.is_dir() else ()))
        if kind in (None, clip.kind) and own in (None, clip.own)
    )


def clip(name: str) -> Clip:
    """The clip of this name."""
    return next(clip for clip in clips() if clip.name == name)


def _read(folder: Path, *, own: bool) -> list[Clip]:
    with (folder / "MANIFEST.tsv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    return [
        Clip(
            path=folder / row["file"],
            text=row["text"],
            kind=_kind(row["kind"]),
            seconds=float(row["seconds"]),
            rate=int(row["rate"]) if own else soundfile.info(folder / row["file"]).samplerate,
            voice=row["voice"] if own else "",
            own=own,
        )
        for row in table
        if row["language"] in ("en", "")
    ]


def _kind(text: str) -> Kind:
    if text == "nonspeech":
        return "nonspeech"
    return "command" if text.startswith(("command", "digits")) else "reading"
