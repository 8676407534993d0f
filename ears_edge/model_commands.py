"""`ears-edge models`: what there is, what is here, fetching it, checking it, taking it away."""

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from ears_edge.config import Config
from ears_edge.errors import ModelCorruptError, ModelError, ModelNotFoundError
from ears_edge.models import card, catalog, layout
from ears_edge.models.catalog import CATALOG, EMBEDDED, Reference
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import Cache, cache_folder
from ears_edge.models.store import Installed, Store
from ears_edge.terminal import Terminal, console, plain, progress
from ears_edge.typed import to_json

if TYPE_CHECKING:
    from ears_edge.models.hub.client import Snapshot
    from ears_edge.models.manifest import Fault

OK: Final = 0
BAD: Final = 69
"""As `cli.MODEL`."""
MB: Final = 1_000_000
MAX_LANGUAGES_SHOWN: Final = 4


class Local(NamedTuple):
    """A model that is not pulled: the one in the package, or a folder of the user's."""

    name: str
    path: Path


def list_models(config: Config, *, as_json: bool) -> int:
    """Print the catalog, and what else is installed."""
    store = Store(config.models)
    rows = list(_rows(config, store))
    if as_json:
        print(to_json({"dir": str(store.root), "models": rows}))  # noqa: T201  # for programs
        return OK
    out = console(stderr=False)
    out.table(
        ("model", "state", "size", "languages", "licence"),
        [
            (
                f"{row['name']}{' *' if row['wanted'] else ''}",
                str(row["state"]),
                f"{'' if row['exact'] else 'about '}{_mb(row['size'])}",
                _languages(row["languages"]),
                str(row["licence"] or "?"),
            )
            for row in rows
        ],
    )
    out.say(f"\n* model.name asks for it. Pulled models are in {plain(str(store.root))}.")
    out.say("Any owner/repo of the hub in the same layout can be pulled, too.")
    return OK


def info(name: str, config: Config, *, as_json: bool) -> int:
    """Print all that is known of a model."""
    store = Store(config.models)
    target = _target(name)
    told = _local_info(target) if isinstance(target, Local) else _pullable_info(target, store)
    if as_json:
        print(to_json(told))  # noqa: T201  # for programs
        return OK
    out = console(stderr=False)
    for key, value in told.items():
        if value not in ("", None, [], ()):
            out.say(f"[bold]{key.replace('_', ' '):>15}[/bold]  {plain(_shown(key, value))}")
    return OK


def verify(name: str, config: Config, *, as_json: bool) -> int:
    """Compare every file with what the first pull recorded: exit status 0, or 69 if one differs."""
    target = _target(name)
    faults: list[Fault] = []
    if isinstance(target, Local):
        ModelFolder.open(target.path)
        size, said = (
            None,
            f"{target.name}: its files can be read; no hashes were recorded, as it was not pulled",
        )
    else:
        found = _installed(Store(config.models), target)
        size, said = (
            found.manifest.size,
            f"{target.name}: all {len(found.manifest.files)} files are as pulled",
        )
        with progress(f"checking {target.name}", size) as told:
            faults = list(found.faults(told))
    if as_json:
        print(  # noqa: T201  # for programs
            to_json(
                {"name": target.name, "sound": not faults, "compared": size is not None, "faults": faults}
            )
        )
        return BAD if faults else OK
    out = console(stderr=False)
    for fault in faults:
        out.say(plain(f"{target.name}: {fault.name}: {fault.problem}"))
    out.say(plain(f"Mend it: ears-edge models pull {target.name}" if faults else said))
    return BAD if faults else OK


def pull(name: str, config: Config, *, update: bool, test: bool, floats: bool = False) -> int:
    """Have a model on this machine, whole; what was fetched is asked for the text of a known clip.

    Raises:
        ModelError: It can't be had; or it gives a wrong answer (`model-self-test`).
    """
    target = _target(name)
    out = console(stderr=False)
    if isinstance(target, Local):
        out.say(plain(f"{target.name} is on this machine already: {target.path}"))
        return OK
    from ears_edge.models.hub.client import Hub  # noqa: PLC0415  # heavy
    from ears_edge.models.pull import pull as pulling  # noqa: PLC0415  # needs it

    store = Store(config.models)
    try:
        with (
            Hub(config.models, notice=_notice) as hub,
            _Told(target, out) as watch,
        ):
            done = pulling(store, target, hub, watch, update=update, floats=floats)
    except KeyboardInterrupt:
        _notice("stopped; what was fetched is kept, and the next pull goes on from there")
        raise
    folder, record = done.installed.folder, done.installed.manifest
    commit = record.commit[: card.SHORT_COMMIT]
    what = {
        "fetched": f"{target.name}: fetched (commit {commit}), {_mb(record.size)} in {folder}",
        "updated": f"{target.name}: updated to commit {commit}",
        "mended": f"{target.name}: mended; all files are as first pulled (commit {commit})",
        "kept": f"{target.name}: here already, all files are as pulled (commit {commit})",
    }
    out.say(plain(what[done.outcome]))
    if test and done.outcome != "kept":
        out.say(plain(f"{target.name}: {_self_test(target, config)}"))
    if not _is_wanted(config, target):
        out.say(
            plain(f'To use it: name = "{target.name}" in [model] of the settings, or --model {target.name}')
        )
    return OK


def remove(name: str, config: Config) -> int:
    """Take a pulled model away."""
    target = _target(name)
    if isinstance(target, Local):
        whose = "part of the package" if target.name == EMBEDDED else "your own folder"
        raise ModelError(
            f"{target.name} is {whose}; only pulled models can be removed.", code="model-not-pulled"
        )
    store = Store(config.models)
    cache = Cache(cache_folder(os.environ))
    freed = sum(cache.remove(encoder) for encoder in _encoders(store, target))
    freed += store.remove(target)
    out = console(stderr=False)
    out.say(plain(f"{target.name}: removed, {_mb(freed)} freed"))
    if _is_wanted(config, target):
        out.say(plain(f'model.name is still "{config.model.name}": the daemon fetches it at its next start.'))
    return OK


def _self_test(target: Reference, config: Config) -> str:
    from ears_edge.engine.loading import load  # noqa: PLC0415  # heavy
    from ears_edge.engine.self_test import SELF_TEST, test_recognizer  # noqa: PLC0415  # as above

    verdict = test_recognizer(load(replace(config, model=replace(config.model, name=target.name))))
    if verdict.outcome == "failed":
        raise ModelError(f"{target.name}: it can't be trusted: {verdict.fault}", code=SELF_TEST)
    if verdict.outcome == "passed":
        return "it hears what the test clip says"
    return "it runs; the test clip is English, so what it hears was not judged"


def _encoders(store: Store, reference: Reference) -> list[str]:
    """SHA-256 of a model's encoders, of which there may be optimized ones; none if nobody knows."""
    encoders = layout.graphs(layout.ENCODER)
    with suppress(ModelCorruptError):
        found = store.find(reference)
        return [file.sha256 for file in found.manifest.files if file.name in encoders] if found else []
    return []


class _Told:
    """Shows how a pull goes; a context manager."""

    def __init__(self, reference: Reference, out: Terminal) -> None:
        self._reference = reference
        self._out = out
        self._bars = ExitStack()
        self._told: Callable[[float], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.close()

    def checking(self, done: int, total: int) -> None:
        told = self._told or self._bar(progress(f"checking {self._reference.name}", total))
        told(done)

    def begin(self, snapshot: "Snapshot", total: int) -> None:
        self._bars.close()
        for line in card.attribution(self._reference, snapshot.licence):
            self._out.say(plain(line))
        self._bar(progress(f"{self._reference.name}, {_mb(total)}", total))

    def fetched(self, done: int) -> None:
        if self._told is not None:
            self._told(done)

    def _bar(self, bar: "AbstractContextManager[Callable[[float], None]]") -> Callable[[float], None]:
        self._told = self._bars.enter_context(bar)
        return self._told


def _notice(text: str) -> None:
    """One line on standard error; while there is a progress bar, above it."""
    print(f"ears-edge: {text}", file=sys.stderr)  # noqa: T201  # what rich moves out of its bar's way


def _target(name: str) -> Reference | Local:
    """What the user means.

    Raises:
        ModelNotFoundError: Nothing that there could be.
    """
    path = Path(name).expanduser()
    reference = catalog.find(name)
    if name == EMBEDDED or (path.is_dir() and (reference is None or reference.entry is None)):
        return Local(name, resolve(name))
    if reference is None:
        near = difflib.get_close_matches(name, CATALOG, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "`ears-edge models list` shows those with a name."
        raise ModelNotFoundError(
            f"{name!r} is no model: no name, no owner/repo[@revision] of the hub, and no folder; {hint}"
        )
    return reference


def _installed(store: Store, reference: Reference) -> Installed:
    found = store.find(reference)
    if found is None:
        raise ModelNotFoundError(
            f"{reference.name}: not installed in {store.root}. "
            f"Fetch it: ears-edge models pull {reference.name}"
        )
    return found


def _is_wanted(config: Config, reference: Reference) -> bool:
    return catalog.find(config.model.name) == reference


def _rows(config: Config, store: Store) -> Iterator[dict[str, object]]:
    here = list(store.installed())
    found = {one.reference.name: one for one in here if isinstance(one, Installed)}
    for entry in CATALOG.values():
        one = found.pop(entry.name, None)
        wanted = config.model.name == entry.name
        if one is not None:
            yield {**_row(one, entry.languages), "wanted": _is_wanted(config, one.reference)}
        else:
            yield {
                "name": entry.name,
                "state": "in the package" if entry.name == EMBEDDED else "not pulled",
                "installed": entry.name == EMBEDDED,
                "size": entry.download_bytes,
                "exact": False,
                "languages": entry.languages,
                "licence": entry.licence,
                "repo": entry.repo,
                "wanted": wanted,
            }
    for one in found.values():
        yield {**_row(one, ()), "wanted": _is_wanted(config, one.reference)}
    for fault in here:
        if isinstance(fault, ModelCorruptError):
            _notice(f"warning: {fault}")


def _row(one: Installed, languages: tuple[str, ...]) -> dict[str, object]:
    damaged = next(one.obvious_faults(), None)
    return {
        "name": one.reference.name,
        "state": "damaged" if damaged else "pulled",
        "installed": True,
        "size": one.manifest.size,
        "exact": True,
        "languages": languages or _languages_of(one),
        "licence": one.manifest.licence,
        "repo": one.manifest.repo,
        "commit": one.manifest.commit,
        "folder": str(one.folder),
    }


def _languages_of(one: Installed) -> tuple[str, ...]:
    try:
        return ModelFolder.open(one.folder).info.languages
    except ModelError:
        return ()


def _pullable_info(reference: Reference, store: Store) -> Mapping[str, object]:
    entry, found = reference.entry, store.find(reference)
    told: dict[str, object] = {
        "name": reference.name,
        "description": entry.description if entry else "",
        "languages": (entry.languages if entry else ()) or (_languages_of(found) if found else ()),
        "licence": (found.manifest.licence if found else "") or (entry.licence if entry else ""),
        "attribution": card.attribution(reference, found.manifest.licence if found else ""),
        "repo": reference.repo,
        "revision": reference.wanted_revision,
        "download_bytes": found.manifest.size if found else entry.download_bytes if entry else None,
        "memory_bytes": entry.memory_bytes if entry else None,
        "installed": found is not None,
        "folder": str(store.folder(reference)),
        "half_fetched_bytes": store.half_fetched(reference) or None,
    }
    if found is not None:
        told["commit"] = found.manifest.commit
        told["endpoint"] = found.manifest.endpoint
        told["files"] = found.manifest.files
        told["faults"] = list(found.obvious_faults())
    return told


def _local_info(target: Local) -> Mapping[str, object]:
    folder = ModelFolder.open(target.path)
    entry = CATALOG.get(target.name)
    return {
        "name": target.name,
        "description": folder.info.description,
        "languages": folder.info.languages,
        "licence": folder.info.licence,
        "attribution": tuple(filter(None, (folder.info.attribution.name, folder.info.attribution.url))),
        "memory_bytes": entry.memory_bytes if entry else None,
        "installed": True,
        "folder": str(target.path),
    }


def _shown(key: str, value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if key.endswith("_bytes"):
            return _mb(value)
        case tuple() | list():
            return ("; " if key == "attribution" else " ").join(
                one if isinstance(one, str) else str(getattr(one, "name", one)) for one in value
            )
    return str(value)


def _languages(codes: object) -> str:
    known = list(codes) if isinstance(codes, tuple | list) else []
    if not known:
        return "?"
    return " ".join(known) if len(known) <= MAX_LANGUAGES_SHOWN else str(len(known))


def _mb(size: object) -> str:
    return f"{max(round(size / MB), 1)} MB" if isinstance(size, int) else "?"
