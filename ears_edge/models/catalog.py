"""The models that have a name here, and what a user may write for a model. Facts only; nothing is fetched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

EMBEDDED: Final = "embedded"
"""The name of the model in the wheel."""
DEFAULT_REVISION: Final = "main"
MAX_REFERENCE_LENGTH: Final = 300
"""Source: no repository name on the hub is longer than 96 characters, no branch of git than 244."""

_OWNER_OR_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_REFERENCE: Final = re.compile(
    rf"(?P<name>{_OWNER_OR_NAME}(?:/{_OWNER_OR_NAME})?)(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9_./-]*))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the catalog."""

    name: str
    description: str
    languages: tuple[str, ...]
    """Bare codes."""
    licence: str
    """SPDX identifier."""
    licence_url: str
    author: str
    author_url: str
    """Where the author published it."""
    exporter: str = ""
    """Who converted it to ONNX, if not the author."""
    changes: str = ""
    """What the exporter changed; CC-BY-4.0 wants that told."""
    repo: str = ""
    """`owner/repo` on the hub; empty for the model in the wheel."""
    download_bytes: int
    """About; the hub tells exactly. For the model in the wheel: its files."""
    memory_bytes: int
    """About: resident while it serves."""
    commit: str = ""
    """The commit that a pull fetches; empty means what the branch `main` is at the time.

    The entries below have neither commit nor hashes: they were written without access to the hub. What the
    first pull got is recorded beside the files, and compared ever after.
    """
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File name -> SHA-256 that a pull insists on."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that can be pulled: one of the catalog, or any repository on the hub."""

    repo: str
    revision: str = ""
    """Branch, tag or commit; empty means the catalog's commit, else `main`."""
    entry: Entry | None = None

    @property
    def name(self) -> str:
        """What a user writes for it."""
        name = self.entry.name if self.entry else self.repo
        return f"{name}@{self.revision}" if self.revision else name

    @property
    def wanted_revision(self) -> str:
        """What is asked for at the hub."""
        return self.revision or (self.entry.commit if self.entry else "") or DEFAULT_REVISION

    @property
    def folder_name(self) -> str:
        """Name of its folder below `models.dir`; no two references share one."""
        return quote(self.name.replace("/", "--", 1) if not self.entry else self.name, safe="@")

    @property
    def url(self) -> str:
        """Its page, for people."""
        return f"https://huggingface.co/{self.repo}"


_CC_BY: Final = "https://creativecommons.org/licenses/by/4.0/"
_V3_LANGUAGES: Final = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"
"""Source: NVIDIA's model card of parakeet-tdt-0.6b-v3."""
_MB: Final = 1_000_000

_ENTRIES: Final = (
    Entry(
        name="parakeet-tdt-0.6b-v3",
        description="Parakeet TDT 0.6B v3, INT8: 25 European languages; the one to use",
        languages=tuple(_V3_LANGUAGES.split()),
        licence="CC-BY-4.0",
        licence_url=_CC_BY,
        author="NVIDIA",
        author_url="https://huggingface.co/nvidia/parakeet-tdt-0.6b-v3",
        exporter="istupakov",
        changes="exported to ONNX, weights quantized to 8 bits",
        repo="istupakov/parakeet-tdt-0.6b-v3-onnx",
        download_bytes=670 * _MB,
        memory_bytes=1_500 * _MB,
    ),
    Entry(
        name="parakeet-tdt-0.6b-v2",
        description="Parakeet TDT 0.6B v2, INT8: English only",
        languages=("en",),
        licence="CC-BY-4.0",
        licence_url=_CC_BY,
        author="NVIDIA",
        author_url="https://huggingface.co/nvidia/parakeet-tdt-0.6b-v2",
        exporter="istupakov",
        changes="exported to ONNX, weights quantized to 8 bits",
        repo="istupakov/parakeet-tdt-0.6b-v2-onnx",
        download_bytes=660 * _MB,
        memory_bytes=1_500 * _MB,
    ),
    Entry(
        name=EMBEDDED,
        description="small English model in the package: commands to a home, still often wrong",
        languages=("en",),
        licence="MIT",
        licence_url="",
        author="ears_edge contributors",
        author_url="",
        download_bytes=16 * _MB,
        memory_bytes=200 * _MB,
    ),
)
CATALOG: Final[Mapping[str, Entry]] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
_BY_REPO: Final = {entry.repo: entry for entry in _ENTRIES if entry.repo}


def find(text: str) -> Reference | None:
    """What `name[@revision]` or `owner/repo[@revision]` means; None if it can't be pulled.

    The repository of an entry is the entry, so that nobody keeps the same model twice.
    """
    match = _REFERENCE.fullmatch(text) if len(text) <= MAX_REFERENCE_LENGTH else None
    if match is None:
        return None
    name, revision = match["name"], match["revision"] or ""
    if "--" in name or ".." in text or "//" in revision:
        # Source: the hub's own rules for names, and git's for refs
        return None
    entry = CATALOG.get(name) or _BY_REPO.get(name)
    if entry is not None:
        return Reference(entry.repo, revision, entry) if entry.repo else None
    return Reference(name, revision) if "/" in name else None
