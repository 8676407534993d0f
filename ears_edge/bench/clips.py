"""The audio that is measured with: files and what is said in them, or a voice that never was."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ears_edge.audio.files import open_audio
from ears_edge.audio.pcm import PcmFormat, encode_s16
from ears_edge.bench.babble import babble
from ears_edge.errors import AudioFormatError
from ears_edge.units import SAMPLE_RATE

MANIFEST: Final = "MANIFEST.tsv"
"""A table beside the files, with the columns `file` and `text` among others."""
MAX_TEXT_BYTES: Final = 16_777_216
"""No transcript and no manifest is larger."""
BABBLE_S: Final = 3.0
"""About a spoken command."""
_READ_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Audio held in memory, so that no disk is measured."""

    name: str
    pcm: bytes
    fmt: PcmFormat
    reference: str | None = None
    """What is said in it; None if nobody told."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.fmt.seconds(len(self.pcm))

    def blocks(self, seconds: float) -> Iterator[bytes]:
        """The audio in blocks of whole sample frames, about so many seconds each."""
        size = self.fmt.block_bytes(seconds)
        for begin in range(0, len(self.pcm), size):
            yield self.pcm[begin : begin + size]


def references(clips: Sequence[Clip]) -> dict[str, str]:
    """What is said, by the clip's name, where that is known."""
    return {clip.name: clip.reference for clip in clips if clip.reference is not None}


def load(files: Sequence[str]) -> list[Clip]:
    """Read the files, or, if there are none, make one clip of babble.

    What is said in `a.wav` is taken from `a.wav.txt` or `a.txt`, else from `MANIFEST.tsv` beside it.

    Raises:
        AudioFormatError: A file can't be read as audio, or a transcript not as UTF-8 text.
    """
    if not files:
        return [Clip(name="babble", pcm=encode_s16(babble(BABBLE_S)), fmt=PcmFormat(SAMPLE_RATE, 2, 1))]
    names = _names(files)
    clips = []
    for file in dict.fromkeys(files):
        with open_audio(file) as source:
            pcm = b"".join(source.blocks(_READ_S))
            if source.damage:
                raise AudioFormatError(source.damage, code="bad-file")
            clips.append(Clip(name=names[file], pcm=pcm, fmt=source.fmt, reference=_reference(Path(file))))
    return clips


def _names(files: Sequence[str]) -> dict[str, str]:
    """File -> its name without the folders, or the whole path where two have the same name."""
    short = [Path(file).name for file in dict.fromkeys(files)]
    return {file: file if short.count(Path(file).name) > 1 else Path(file).name for file in files}


def _reference(file: Path) -> str | None:
    for sidecar in (file.with_name(f"{file.name}.txt"), file.with_suffix(".txt")):
        if sidecar.is_file() and sidecar != file:
            return " ".join(_read(sidecar).split())
    manifest = file.with_name(MANIFEST)
    if not manifest.is_file():
        return None
    table = csv.DictReader(_read(manifest).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return next((row.get("text") for row in table if row.get("file") == file.name), None)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise AudioFormatError(
                f"{path}: larger than {MAX_TEXT_BYTES} bytes; expected a transcript", code="bad-file"
            )
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise AudioFormatError(f"{path}: can't be opened: {exc}", code="file-unreadable") from exc
    except UnicodeDecodeError as exc:
        raise AudioFormatError(f"{path}: not UTF-8 text; expected a transcript", code="bad-file") from exc
