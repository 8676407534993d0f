"""Rewritten encoders and where they lie: one folder for each model, CPU and onnxruntime.

    <cache>/<key>/encoder.onnx, encoder.onnx.data   as this CPU wants them
    <cache>/<key>/record.json                       of what, for what, and how like the original; written last
    <cache>/.unfinished/                            what is being made

A cache: whatever is missing here, the original serves, and it can be made again. A rewrite that failed its
test is recorded as well, so that nobody tries it at each start.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

from ears_edge.models import manifest
from ears_edge.models.lock import exclusive
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed

RECIPE: Final = 3
"""Counted up when the rewrite changes: what an older one made is not used any more."""
ENCODER: Final = "encoder.onnx"
RECORD: Final = "record.json"
UNFINISHED: Final = ".unfinished"
LOCK: Final = ".lock"
MAX_RECORD_BYTES: Final = 65_536
FRAMES_KEY: Final = "ears_edge.max_frames"
"""Metadata of a rewritten encoder: the most encoder frames that it takes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a rewritten encoder is good for."""

    runtime: str
    """Version of onnxruntime."""
    cpu: str
    frames: Annotated[int, Bounds(ge=1)]
    """The most encoder frames that it takes at once."""
    recipe: int = RECIPE

    def serves(self, wanted: "Target") -> bool:
        """Whether one that is good for this is good for what is wanted."""
        return self.frames >= wanted.frames and replace(self, frames=wanted.frames) == wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one rewritten encoder, or of why there is none."""

    original: str
    """Path of the original encoder."""
    size: int
    modified_ns: int
    """With these three unchanged it is not read again."""
    sha256: str
    """Of the original."""
    target: Target
    files: Mapping[manifest.PlainName, int]
    """Name -> bytes; empty if there is none."""
    cosine: float
    """Between the outputs of the two, the worst of the test's windows."""
    fault: str = ""
    """Why there is none."""


def cache_folder(env: Mapping[str, str]) -> Path:
    """Where rewritten encoders are kept: in the folder that systemd gives, or the user's cache folder."""
    # Source: systemd.exec(5), RuntimeDirectory= and its kin: several are separated by colons
    if given := env.get("CACHE_DIRECTORY", "").partition(":")[0].strip():
        return Path(given, "optimized")
    # Source: XDG Base Directory Specification 0.8: a relative path is to be ignored
    if (cache := env.get("XDG_CACHE_HOME", "").strip()) and Path(cache).is_absolute():
        return Path(cache, "ears-edge", "optimized")
    if home := env.get("HOME", "").strip():
        return Path(home, ".cache", "ears-edge", "optimized")
    return Path("/var/cache/ears-edge/optimized")


class Cache:
    """The rewritten encoders below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, original: Path, target: Target) -> tuple[Path, Record] | None:
        """What is recorded of an encoder for a target, and the folder of it; None if nothing is.

        The original is read only if there is a record of a file of its size from another place or time.
        """
        try:
            path, now = original.resolve(), original.stat()
        except OSError:
            return None
        fitting = [
            (folder, record)
            for folder, record in self._records()
            if record.size == now.st_size and record.target.serves(target) and _is_whole(folder, record)
        ]
        for folder, record in fitting:
            if (record.original, record.modified_ns) == (str(path), now.st_mtime_ns):
                return folder, record
        digest = manifest.sha256(path) if fitting else ""
        for folder, record in fitting:
            if record.sha256 == digest:
                moved = replace(record, original=str(path), modified_ns=now.st_mtime_ns)
                with suppress(OSError):  # a cache that can't be written to is read more slowly
                    _write(folder, moved)
                return folder, moved
        return None

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """An empty folder to make something in, for one process at a time; it is gone afterwards.

        Raises:
            UnavailableError: Another process is at it; code `model-locked`.
            OSError: The cache can't be written to.
        """
        with exclusive(self.root / LOCK, "optimizing a model"):
            folder = self.root / UNFINISHED
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, made: Path, record: Record) -> Path:
        """Give what was made in the workshop its place; what it supersedes goes. Returns its folder.

        Raises:
            OSError: It can't be written.
        """
        for name in record.files:
            with (made / name).open("rb") as file:
                os.fsync(file.fileno())
        _write(made, record)
        for folder, older in self._records():
            if (older.sha256, older.target.cpu) == (record.sha256, record.target.cpu):
                shutil.rmtree(folder)
        folder = self.root / hashlib.sha256(to_json([record.sha256, record.target]).encode()).hexdigest()[:32]
        shutil.rmtree(folder, ignore_errors=True)  # one that had no record
        made.rename(folder)
        manifest.sync_folder(self.root)
        return folder

    def remove(self, sha256: str) -> int:
        """Take away all that was made of one encoder. Returns how many bytes that frees.

        Raises:
            UnavailableError: Another process is making one; code `model-locked`.
            OSError: Something can't be taken away.
        """
        if not self.root.is_dir():
            return 0
        freed = 0
        with exclusive(self.root / LOCK, "removing an optimized model"):
            for folder, record in self._records():
                if record.sha256 == sha256:
                    shutil.rmtree(folder)
                    freed += sum(record.files.values())
        return freed

    def _records(self) -> list[tuple[Path, Record]]:
        found = []
        for path in self.root.glob(f"[!.]*/{RECORD}"):
            # Another version may have written it, or half of it.
            with suppress(OSError, ShapeError):
                if path.stat().st_size <= MAX_RECORD_BYTES:
                    found.append((path.parent, to_typed(parse_json_object(path.read_bytes()), Record)))
        return found


def _is_whole(folder: Path, record: Record) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, size in record.files.items())
    except OSError:
        return False


def _write(folder: Path, record: Record) -> None:
    unfinished = folder / f".{RECORD}"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(to_json(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / RECORD)
