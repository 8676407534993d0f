"""The hub's client: what a repository holds, and its files.

`huggingface_hub` does the transfer, by its `http_get`: its `hf_hub_download` (2.x) throws away what it has of
a file when the connection or the process ends, and 650 MB over a slow line have to be resumed.
"""

import io
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from huggingface_hub import HfApi, close_session, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, says its documentation

from ears_edge import __version__
from ears_edge.config import ModelsConfig
from ears_edge.errors import ModelCorruptError
from ears_edge.models import layout
from ears_edge.models.catalog import Reference
from ears_edge.models.hub import faults

LIBRARY: Final = "ears-edge"
METADATA_TIMEOUT_S: Final = 20.0
MAX_LANGUAGES: Final = 200
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")

Told = Callable[[int], None]
"""Takes how many bytes of a file are there by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file as the hub describes it."""

    name: str
    size: int
    sha256: str = ""
    """Of files in large file storage only."""
    git_blob: str = ""
    """Of all others: git's name for the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at one commit."""

    reference: Reference
    commit: str
    endpoint: str
    files: Mapping[str, HubFile]
    """By name; those in the root only."""
    licence: str = ""
    languages: tuple[str, ...] = ()


class Hub:
    """A connection to the hub, as a context manager.

    Args:
        config: Endpoint, token, offline mode.
        cache: The hub client's own cache, which is looked into; None means where its variables say.
        notice: Takes what the client has to say, such as that it waits or resumes.
    """

    def __init__(
        self,
        config: ModelsConfig,
        *,
        cache: Path | None = None,
        notice: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._endpoint = (config.endpoint or constants.ENDPOINT).rstrip("/")
        self.endpoint = re.sub(r"//[^/@]*@", "//", self._endpoint)
        """Its address as it may be shown: without a login."""
        # A token that belongs to the hub is not sent to a mirror that our own settings name.
        self._token: str | bool | None = config.token or (False if config.endpoint else None)
        self.offline = config.offline or constants.is_offline_mode()
        self._cache = cache
        self._notices = _Notices(notice)
        self._silenced: list[logging.Handler] = []

    def __enter__(self) -> Self:
        # Else the client asks the hub, whatever the endpoint is, which programs' variables it shall tell of.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        logger = logging.getLogger("huggingface_hub")
        self._silenced, logger.handlers = logger.handlers, [self._notices]
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("huggingface_hub").handlers = self._silenced
        close_session()

    def snapshot(self, reference: Reference, revision: str) -> Snapshot:
        """What the repository holds at a revision.

        Raises:
            ModelNotFoundError: There is no such repository or revision.
            ModelAccessError: It wants a token.
            UnavailableError: The hub can't be reached, or is busy; offline: not all of it is in the cache.
        """
        if self.offline:
            return self._cached_snapshot(reference, revision)
        api = HfApi(self._endpoint, token=self._token, library_name=LIBRARY, library_version=__version__)
        with faults.told(self.endpoint, reference, revision):
            try:
                info = api.model_info(
                    reference.repo, revision=revision, files_metadata=True, timeout=METADATA_TIMEOUT_S
                )
                files = {}
                for sibling in info.siblings or ():
                    size = sibling.lfs.size if sibling.lfs else sibling.size
                    # every file that is needed lies in the root
                    if "/" not in sibling.rfilename and size is not None:
                        files[sibling.rfilename] = HubFile(
                            name=sibling.rfilename,
                            size=int(size),
                            sha256=sibling.lfs.sha256 if sibling.lfs else "",
                            git_blob="" if sibling.lfs else sibling.blob_id or "",
                        )
                card = vars(info.card_data) if info.card_data else {}
            except (ValueError, TypeError, KeyError, AttributeError) as exc:
                raise faults.no_hub(self.endpoint, type(exc).__name__) from exc
        if info.sha is None or not _COMMIT.fullmatch(info.sha):
            raise faults.no_hub(self.endpoint, "no commit")
        languages = card.get("language") or ()
        return Snapshot(
            reference=reference,
            commit=info.sha,
            endpoint=self.endpoint,
            files=files,
            licence=str(card.get("license") or ""),
            languages=_codes([languages] if isinstance(languages, str) else languages),
        )

    def cached(self, snapshot: Snapshot, name: str) -> Path | None:
        """The file in the hub client's own cache, where other programs may have put it."""
        return self._in_cache(snapshot.reference.repo, snapshot.commit, name)

    def fetch(self, snapshot: Snapshot, file: HubFile, partial: Path, told: Told) -> None:
        """Fetch a file, or what is missing of it, to the end of `partial`.

        Raises:
            ModelNotFoundError: It is gone.
            ModelAccessError: It wants a token.
            UnavailableError: The connection was lost, or offline mode is on; `partial` keeps what came.
            OSError: The disk is full; likewise.
        """
        if self.offline:
            raise faults.offline(snapshot.reference)
        if partial.exists() and partial.stat().st_size > file.size:
            partial.unlink()
        url = hf_hub_url(
            snapshot.reference.repo, file.name, revision=snapshot.commit, endpoint=self._endpoint
        )
        headers = build_hf_headers(token=self._token, library_name=LIBRARY, library_version=__version__)
        # Byte ranges of a compressed answer are of no use for resuming.
        headers["accept-encoding"] = "identity"
        with (
            faults.told(self.endpoint, snapshot.reference, snapshot.commit, file.name),
            _Growing(partial, file, told) as out,
        ):
            http_get(
                url,
                out,
                resume_size=out.tell(),
                headers=headers,
                expected_size=file.size,
                displayed_filename=file.name,
                tqdm_class=_NoBar,
            )

    def _cached_snapshot(self, reference: Reference, revision: str) -> Snapshot:
        files: dict[str, HubFile] = {}
        commits = set()
        for name in layout.possible():
            path = self._in_cache(reference.repo, revision, name)
            if path is not None:
                # The cache names its blobs by what the hub said of them, and folders of snapshots by commit.
                blob = path.resolve().name if path.is_symlink() else ""
                commits.add(path.parent.name)
                files[name] = HubFile(
                    name=name,
                    size=path.stat().st_size,
                    sha256=blob if _SHA256.fullmatch(blob) else "",
                    git_blob=blob if _COMMIT.fullmatch(blob) else "",
                )
        if len(commits) != 1 or layout.choose(files).missing:
            raise faults.offline(reference)
        return Snapshot(reference=reference, commit=commits.pop(), endpoint=self.endpoint, files=files)

    def _in_cache(self, repo: str, revision: str, name: str) -> Path | None:
        found = try_to_load_from_cache(repo, name, cache_dir=self._cache, revision=revision)
        return Path(found) if isinstance(found, str) else None


class _NoBar:
    """No progress bar: ours is elsewhere, and those of the client start a thread even when they are off."""

    def __init__(self, *_args: object, **_options: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, _n: float = 1) -> None:
        """Show nothing."""


class _Growing(io.BufferedWriter):
    """A file that is appended to, tells how far it is, and never grows beyond what the hub said."""

    def __init__(self, path: Path, file: HubFile, told: Told) -> None:
        super().__init__(io.FileIO(path, "a"))
        self.seek(0, io.SEEK_END)
        self._file = file
        self._told = told

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # all that http_get writes
        if self.tell() + len(data) > self._file.size:
            raise ModelCorruptError(
                f"{self._file.name}: the hub sends more than the {self._file.size} bytes it told of. "
                "Try again, or another models.endpoint.",
                code="model-wrong-size",
            )
        written = super().write(data)
        self._told(self.tell())
        return written


class _Notices(logging.Handler):
    """Hands the client's warnings on, one line each."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._notice = notice

    def emit(self, record: logging.LogRecord) -> None:
        self._notice(" ".join(record.getMessage().split()))


def _codes(languages: object) -> tuple[str, ...]:
    """Bare codes out of what a model card says, which may be anything."""
    if not isinstance(languages, list | tuple):
        return ()
    known = [
        code for code in languages[:MAX_LANGUAGES] if isinstance(code, str) and _LANGUAGE.fullmatch(code)
    ]
    return tuple(dict.fromkeys(known))
