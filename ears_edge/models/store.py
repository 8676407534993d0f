"""The models on this machine: which there are, whether they are what was pulled, taking one away.

    <models.dir>/<name>/            a finished model: files, card, licence, and manifest.json, written last
    <models.dir>/.incoming/<name>/  what a pull that has not finished has so far
    <models.dir>/.leaving/<name>/   what is being taken away or replaced
    <models.dir>/.locks/<name>      who may change it

A folder gets its own name only when it is finished, by one rename; a folder without a manifest is no model.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ears_edge.config import ModelsConfig
from ears_edge.errors import EarsEdgeError, ModelCorruptError, ModelNotFoundError, UnavailableError
from ears_edge.models import catalog, manifest
from ears_edge.models.catalog import Reference
from ears_edge.models.location import models_folder
from ears_edge.models.lock import exclusive
from ears_edge.models.manifest import Fault, Manifest

INCOMING: Final = ".incoming"
LEAVING: Final = ".leaving"
LOCKS: Final = ".locks"
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system says when a file can't grow: disk full, quota used up, file size limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A finished model."""

    reference: Reference
    folder: Path
    manifest: Manifest

    def faults(self, told: Callable[[int], None] = lambda _done: None) -> Iterator[Fault]:
        """What is not as it was pulled. Reads every file; `told` takes how many bytes have been read."""
        return manifest.compare(self.folder, self.manifest, told)

    def obvious_faults(self) -> Iterator[Fault]:
        """Files that are missing or of another size. Reads none."""
        return manifest.glance(self.folder, self.manifest)


class Store:
    """The pulled models of one folder."""

    def __init__(self, config: ModelsConfig, env: Mapping[str, str] = os.environ) -> None:
        self.root = models_folder(config.dir, env)

    def find(self, reference: Reference) -> Installed | None:
        """A finished model; None if there is none.

        Raises:
            ModelCorruptError: Its manifest can't be read.
        """
        folder = self.folder(reference)
        try:
            found = manifest.read(folder)
        except ModelNotFoundError:
            return None
        return Installed(reference=reference, folder=folder, manifest=found)

    def installed(self) -> Iterator[Installed | ModelCorruptError]:
        """All finished models by name; for one whose manifest can't be read, why."""
        try:
            names = sorted(path.name for path in self.root.iterdir() if not path.name.startswith("."))
        except OSError:
            # No folder yet, or none for us: nothing that could be used.
            return
        for name in names:
            try:
                found = manifest.read(self.root / name)
            except ModelNotFoundError:
                continue
            except ModelCorruptError as exc:
                yield exc
                continue
            reference = catalog.find(found.name)
            if reference is not None and reference.folder_name == name:
                yield Installed(reference=reference, folder=self.root / name, manifest=found)

    def remove(self, reference: Reference) -> int:
        """Take a model away, and what an unfinished pull of it left. Returns how many bytes that frees.

        Raises:
            ModelNotFoundError: There is nothing of it.
            UnavailableError: It is being pulled right now.
        """
        final, incoming, old = self.folder(reference), self.incoming(reference), self.leaving(reference)
        if not (_is_ours(final) or incoming.exists() or old.exists()):
            raise ModelNotFoundError(f"{reference.name}: not installed in {self.root}; nothing to remove.")
        with self.alone(reference):
            size = _size(final) + _size(incoming)
            if _is_ours(final):
                # First the name, then the files: whenever this ends, no half of a model is left under it.
                old.parent.mkdir(exist_ok=True)
                final.rename(old)
            for folder in (old, incoming):
                if folder.exists():
                    shutil.rmtree(folder)
        return size

    def half_fetched(self, reference: Reference) -> int:
        """Bytes that an unfinished pull left; the next one goes on from there."""
        return _size(self.incoming(reference))

    @contextmanager
    def alone(self, reference: Reference) -> Iterator[None]:
        """Keep other processes from changing this model while the block runs, and settle what they left.

        Raises:
            UnavailableError: Another process is at it; the disk is full; the folder can't be written to, or
                there is one of somebody else in its place.
        """
        try:
            with exclusive(self.root / LOCKS / reference.folder_name, reference.name):
                self._settle(reference)
                final = self.folder(reference)
                if final.exists() and not _is_ours(final):
                    raise UnavailableError(
                        f"{final} is in the way: no pull made it. Move it; model.name can be its path.",
                        code="models-dir",
                    )
                yield
        except EarsEdgeError:
            raise
        except OSError as exc:
            if exc.errno in NO_ROOM:
                raise UnavailableError(
                    f"{reference.name}: no room left in {self.root} ({exc.strerror}). Make some, then try "
                    "again; what was fetched is kept.",
                    code="disk-full",
                ) from exc
            raise UnavailableError(
                f"{exc.filename or self.root}: {exc.strerror or exc}. May this user write there? models.dir "
                "can name another folder.",
                code="models-dir",
            ) from exc

    def _settle(self, reference: Reference) -> None:
        """Complete what a process did not that was killed while it replaced or removed the model."""
        final, incoming, old = self.folder(reference), self.incoming(reference), self.leaving(reference)
        if not final.exists():
            with suppress(ModelNotFoundError, ModelCorruptError):
                manifest.read(incoming)
                incoming.rename(final)
        if old.exists():
            shutil.rmtree(old)

    def replace(self, reference: Reference) -> Path:
        """Give the finished folder its name; what had that name goes. Only inside `alone`."""
        final, old = self.folder(reference), self.leaving(reference)
        if _is_ours(final):
            old.parent.mkdir(exist_ok=True)
            final.rename(old)
        self.incoming(reference).rename(final)
        manifest.sync_folder(self.root)
        if old.exists():
            shutil.rmtree(old)
        return final

    def folder(self, reference: Reference) -> Path:
        """Where it is when it is finished."""
        return self.root / reference.folder_name

    def incoming(self, reference: Reference) -> Path:
        """Where it is until then."""
        return self.root / INCOMING / reference.folder_name

    def leaving(self, reference: Reference) -> Path:
        """Where it is when it goes."""
        return self.root / LEAVING / reference.folder_name


def _is_ours(folder: Path) -> bool:
    """Whether a pull made it, as far as a glance can tell."""
    return (folder / manifest.FILE_NAME).is_file()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
