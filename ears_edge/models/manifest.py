"""The record beside a pulled model's files, written last: where they came from, the SHA-256 of each."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from ears_edge.errors import ModelCorruptError, ModelNotFoundError
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed

FILE_NAME: Final = "manifest.json"
FORMAT: Final = 1
MAX_BYTES: Final = 1024 * 1024
READ_BYTES: Final = 1024 * 1024

PlainName = Annotated[str, Bounds(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
"""A file in the folder itself: what a manifest says can't lead anywhere else."""
Sha256 = Annotated[str, Bounds(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file as it was when it was pulled."""

    name: PlainName
    size: Annotated[int, Bounds(ge=0)]
    sha256: Sha256
    ours: bool = False
    """Written by us (the card, the licence), not fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that is recorded of a pulled model."""

    format: int = FORMAT
    name: str
    """As `catalog.Reference.name`."""
    repo: str
    revision: str
    """What was asked for: a branch, tag or commit."""
    commit: str
    """What that was at the time."""
    endpoint: str = ""
    """The hub it came from."""
    licence: str = ""
    files: tuple[FileRecord, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one file."""

    name: str
    problem: str


def read(folder: Path) -> Manifest:
    """The manifest of a finished model.

    Raises:
        ModelNotFoundError: There is none: the folder is no pulled model.
        ModelCorruptError: It can't be read.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelCorruptError(f"{path}: larger than {MAX_BYTES} bytes; expected a short text file.")
        manifest = to_typed(parse_json_object(path.read_bytes()), Manifest)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise ModelNotFoundError(f"{path}: missing; the folder holds no pulled model.") from exc
    except OSError as exc:
        raise ModelCorruptError(f"{path}: {exc.strerror or exc}.") from exc
    except ShapeError as exc:
        raise ModelCorruptError(f"{path}: {exc}.") from exc
    if manifest.format != FORMAT:
        raise ModelCorruptError(
            f"{path}: of format {manifest.format}, written by another version of ears-edge."
        )
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Write it so that it is whole or not there, whenever the power fails."""
    unfinished = folder / f".{FILE_NAME}"
    with unfinished.open("wb") as file:
        file.write(to_json(manifest).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE_NAME)
    sync_folder(folder)


def record(path: Path, *, ours: bool = False) -> FileRecord:
    """The record of a file as it lies on the disk. Reads all of it."""
    return FileRecord(name=path.name, size=path.stat().st_size, sha256=sha256(path), ours=ours)


def glance(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Files that are missing or of another size; reads none of them."""
    for file in manifest.files:
        try:
            status = (folder / file.name).stat()
        except OSError as exc:
            missing = isinstance(exc, FileNotFoundError)
            yield Fault(file.name, "missing" if missing else f"can't be read: {exc.strerror or exc}")
            continue
        if not stat.S_ISREG(status.st_mode):
            yield Fault(file.name, "not a file")
        elif status.st_size != file.size:
            yield Fault(file.name, f"{status.st_size} bytes, {file.size} were pulled")


def compare(
    folder: Path, manifest: Manifest, told: Callable[[int], None] = lambda _done: None
) -> Iterator[Fault]:
    """Files that are not what was pulled; reads them all.

    Args:
        folder: Where they lie.
        manifest: What was recorded.
        told: Takes how many bytes have been read by now.
    """
    faults = {fault.name: fault for fault in glance(folder, manifest)}
    done = 0
    for file in manifest.files:
        if file.name in faults:
            yield faults[file.name]
        else:
            try:
                found = sha256(folder / file.name)
            except OSError as exc:
                yield Fault(file.name, f"can't be read: {exc.strerror or exc}")
            else:
                if found != file.sha256:
                    yield Fault(file.name, f"SHA-256 is {found}, {file.sha256} was recorded")
        done += file.size
        told(done)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob(path: Path) -> str:
    """The name git gives to a file's content. Source: Pro Git, 10.2 Git Objects."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
