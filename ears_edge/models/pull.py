"""Pulling a model: what is not there is fetched, all of it is compared, and then it is there at once.

SHA-256 of every file is recorded by the first pull and compared ever after. Pulling again mends what is
damaged, at the recorded commit; only `update` goes to a newer one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from ears_edge.errors import ModelCorruptError, ModelMismatchError, UnavailableError
from ears_edge.models import card, layout, manifest
from ears_edge.models.catalog import Reference
from ears_edge.models.folder import MAX_TEXT_BYTES, read_config, read_vocabulary
from ears_edge.models.manifest import FileRecord, Manifest
from ears_edge.models.store import Installed, Store

if TYPE_CHECKING:
    # heavy; whoever pulls has it already
    from ears_edge.models.hub.client import Hub, HubFile, Snapshot

RESERVE_BYTES: Final = 100 * 1024 * 1024
"""What a pull leaves free."""
MB: Final = 1_000_000
KEY_LENGTH: Final = 16
REPLACED: Final = (
    "Somebody replaced the file; if that is as it should be, `remove` the model and pull it anew."
)

Outcome = Literal["fetched", "mended", "updated", "kept"]


class Watch(Protocol):
    """Who is told how it goes."""

    def checking(self, done: int, total: int) -> None:
        """So many bytes of what is there have been read and compared."""

    def begin(self, snapshot: "Snapshot", total: int) -> None:
        """So many bytes make the model; some of them may be there already."""

    def fetched(self, done: int) -> None:
        """So many of them are there."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """How a pull ended."""

    installed: Installed
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file, and what it has to be."""

    file: "HubFile"
    sha256: str
    """Empty if nobody knows yet."""
    witness: str
    """Who knows."""
    commit: str

    @property
    def known(self) -> bool:
        """Whether a file can be compared with anything."""
        return bool(self.sha256 or self.file.git_blob)

    @property
    def partial(self) -> str:
        """Name of what there is of it so far; of another content, it has another name."""
        return f".{self.file.name}.{(self.sha256 or self.file.git_blob or self.commit)[:KEY_LENGTH]}"


def free_bytes(folder: Path) -> int:
    """Free space of the disk that a folder is on, for this user."""
    return shutil.disk_usage(folder).free


def pull(
    store: Store,
    reference: Reference,
    hub: "Hub",
    watch: Watch,
    *,
    update: bool = False,
    floats: bool = False,
    free_space: Callable[[Path], int] = free_bytes,
) -> Pulled:
    """Have the model on this machine, whole. Blocks.

    Args:
        store: Where to.
        reference: Which.
        hub: Where from; it is asked only if something has to be fetched.
        watch: Who is told. What it raises ends the pull, which the next one continues.
        update: Take what the revision is now, not what it was at the first pull.
        floats: Have the float encoder beside that in INT8; once there, it is kept whole by every pull.
        free_space: Tells the free bytes of a folder's disk.

    Raises:
        ModelNotFoundError: The hub has no such model.
        ModelAccessError: It wants a token.
        ModelMismatchError: It is no model in the onnx-asr layout.
        ModelCorruptError: What came is not what was to come.
        UnavailableError: No network, no room, or another process is at it; try again later.
    """
    with store.alone(reference):
        have = _readable(store, reference)
        sound = have is not None and not any(
            have.faults(lambda done: watch.checking(done, have.manifest.size))
        )
        have_floats = have is not None and layout.has_floats(file.name for file in have.manifest.files)
        more = floats and not have_floats
        if have is not None and sound and not update and not more:
            return Pulled(have, "kept")
        revision = have.manifest.commit if have and not update else reference.wanted_revision
        snapshot = hub.snapshot(reference, revision)
        same = have is not None and snapshot.commit == have.manifest.commit
        if have is not None and sound and same and not more:
            return Pulled(have, "kept")
        recorded = have.manifest if have and same else None
        floats = floats or (have_floats and layout.has_floats(snapshot.files))
        wanted = list(_wanted(snapshot, recorded, floats=floats))
        _Filling(store, hub, snapshot, wanted, watch).run(free_space)
        folder = store.replace(reference)
    installed = Installed(reference=reference, folder=folder, manifest=manifest.read(folder))
    outcome: Outcome = "updated" if have and not same else "mended" if have and not sound else "fetched"
    return Pulled(installed, outcome)


def _readable(store: Store, reference: Reference) -> Installed | None:
    """The finished model, if its manifest can be read; a broken one counts for nothing."""
    try:
        return store.find(reference)
    except ModelCorruptError:
        return None


def _wanted(snapshot: "Snapshot", recorded: Manifest | None, *, floats: bool) -> Iterator[_Wanted]:
    """The files to have, with what is known of them.

    Raises:
        ModelMismatchError: The repository lacks some.
        ModelCorruptError: Those who know contradict each other.
    """
    reference = snapshot.reference
    choice = layout.choose(snapshot.files, floats=floats)
    if choice.missing:
        raise ModelMismatchError(
            f"{reference.repo} at {snapshot.commit} is no model in the onnx-asr layout; there is no "
            f"{', no '.join(choice.missing)}.",
            code="model-layout",
        )
    pinned = reference.entry.sha256 if reference.entry and not reference.revision else {}
    first = {file.name: file.sha256 for file in recorded.files} if recorded else {}
    for name in choice.files:
        file = snapshot.files[name]
        if not name.endswith(layout.LARGE) and file.size > MAX_TEXT_BYTES:
            raise ModelMismatchError(
                f"{reference.repo}: {name} has {file.size} bytes; expected a text file.", code="model-layout"
            )
        said = (
            (pinned.get(name), "the catalog"),
            (first.get(name), "the first pull"),
            (file.sha256, "the hub"),
        )
        known = [(sha256, witness) for sha256, witness in said if sha256]
        sha256, witness = known[0] if known else ("", "")
        for other, other_witness in known[1:]:
            if other != sha256:
                raise ModelCorruptError(
                    f"{reference.repo}: {name}: {other_witness} says SHA-256 {other}, but {witness} "
                    f"{sha256}. {REPLACED}",
                    code="model-wrong-hash",
                )
        yield _Wanted(file, sha256, witness, snapshot.commit)


class _Filling:
    """One filling of the folder for what comes in."""

    def __init__(
        self, store: Store, hub: "Hub", snapshot: "Snapshot", wanted: list[_Wanted], watch: Watch
    ) -> None:
        self._store = store
        self._hub = hub
        self._snapshot = snapshot
        # The small ones first: they tell whether the large ones are worth it.
        self._wanted = sorted(wanted, key=lambda one: one.file.size)
        self._watch = watch
        self._incoming = store.incoming(snapshot.reference)
        self._before = store.folder(snapshot.reference)

    def run(self, free_space: Callable[[Path], int]) -> None:
        """Fill it; its manifest comes last."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        (self._incoming / manifest.FILE_NAME).unlink(missing_ok=True)
        known = {name for one in self._wanted for name in (one.file.name, one.partial)}
        for path in self._incoming.iterdir():
            if path.name not in known:
                path.unlink()
        self._check_room(free_space)
        self._watch.begin(self._snapshot, sum(one.file.size for one in self._wanted))
        records: list[FileRecord] = []
        done = 0
        for one in self._wanted:
            records.append(self._obtain(one, done))
            done += one.file.size
            self._watch.fetched(done)
            self._check_kind(one.file.name)
        records += self._cards()
        reference = self._snapshot.reference
        manifest.write(
            self._incoming,
            Manifest(
                name=reference.name,
                repo=reference.repo,
                revision=reference.wanted_revision,
                commit=self._snapshot.commit,
                endpoint=self._snapshot.endpoint,
                licence=reference.entry.licence if reference.entry else self._snapshot.licence,
                files=tuple(records),
            ),
        )

    def _check_room(self, free_space: Callable[[Path], int]) -> None:
        need = 0
        for one in self._wanted:
            name = one.file.name
            there = (self._incoming / name, self._incoming / one.partial, self._before / name)
            sizes = [path.stat().st_size for path in there if path.is_file()]
            need += max(one.file.size - max(sizes, default=0), 0)
        free = free_space(self._incoming)
        if need and free < need + RESERVE_BYTES:
            raise UnavailableError(
                f"{self._snapshot.reference.name}: {need // MB} MB are to be fetched, and "
                f"{RESERVE_BYTES // MB} MB have to stay free, but the disk of {self._store.root} has "
                f"{free // MB} MB. Make room, or name a folder on another disk by models.dir.",
                code="disk-full",
            )

    def _obtain(self, one: _Wanted, before: int) -> FileRecord:
        """Have one file: kept from a pull that did not finish, from the model as it was, or fetched."""
        target, partial = self._incoming / one.file.name, self._incoming / one.partial
        if target.exists():
            with suppress(ModelCorruptError):
                return self._checked(target, one)
            target.unlink()
        mine = self._before / one.file.name
        if one.known and mine.is_file() and not mine.is_symlink():
            with suppress(ModelCorruptError):
                record = self._checked(mine, one)
                _link(mine, target)
                return record
        cached = self._hub.cached(self._snapshot, one.file.name)
        if cached is not None and cached.stat().st_size == one.file.size:
            # A copy, never a link: onnxruntime 1.24.1 does not follow those of the cache to external data.
            shutil.copyfile(cached, partial)
            with suppress(ModelCorruptError):
                return self._settled(partial, target, one)
        self._hub.fetch(self._snapshot, one.file, partial, lambda part: self._watch.fetched(before + part))
        return self._settled(partial, target, one)

    def _settled(self, partial: Path, target: Path, one: _Wanted) -> FileRecord:
        """Give a file its name if it is what it has to be; else it is gone."""
        try:
            record = self._checked(partial, one)
        except ModelCorruptError:
            partial.unlink()
            raise
        _sync(partial)
        partial.rename(target)
        return record

    def _checked(self, path: Path, one: _Wanted) -> FileRecord:
        """The record of a file that is what it has to be.

        Raises:
            ModelCorruptError: It is not.
        """
        name = one.file.name
        found = manifest.sha256(path)
        if one.sha256 and found != one.sha256:
            problem = f"SHA-256 is {found}, but {one.witness} says {one.sha256}"
        elif not one.sha256 and one.file.git_blob and manifest.git_blob(path) != one.file.git_blob:
            problem = f"its content is not what the hub says (git object {one.file.git_blob})"
        else:
            return FileRecord(name=name, size=path.stat().st_size, sha256=found)
        raise ModelCorruptError(
            f"{self._snapshot.reference.repo}: {name}: {problem}. It was thrown away; try again, or another "
            "models.endpoint.",
            code="model-wrong-hash",
        )

    def _check_kind(self, name: str) -> None:
        """Stop early if the texts tell of another kind of model."""
        try:
            match name:
                case layout.VOCABULARY:
                    read_vocabulary(self._incoming / name)
                case layout.CONFIG:
                    read_config(self._incoming / name)
        except (ModelMismatchError, ModelCorruptError) as exc:
            shutil.rmtree(self._incoming)
            raise ModelMismatchError(
                f"{self._snapshot.reference.repo} is no model that this engine runs. {exc}",
                code="model-layout",
            ) from exc

    def _cards(self) -> Iterator[FileRecord]:
        snapshot = self._snapshot
        texts = {
            card.CARD: card.card(snapshot.reference, snapshot.commit, snapshot.licence, snapshot.languages),
            card.ATTRIBUTION: card.attribution_text(snapshot.reference, snapshot.commit, snapshot.licence),
        }
        for name, text in texts.items():
            path = self._incoming / name
            path.write_text(text, encoding="utf-8")
            _sync(path)
            yield manifest.record(path, ours=True)


def _link(source: Path, target: Path) -> None:
    """Give a file of ours a second name; where the file system knows none, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    """Have a file on the disk before its name says that it is finished."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
