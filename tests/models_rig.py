"""What the tests of pulling share: a model of little files, a store, and somebody who watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

from ears_edge.config import ModelsConfig
from ears_edge.models import catalog, pull
from ears_edge.models.catalog import Reference
from ears_edge.models.hub.client import Hub, Snapshot
from ears_edge.models.pull import Pulled
from ears_edge.models.store import Store
from tests.hub_emulator import HubEmulator

NAME = "parakeet-tdt-0.6b-v3"
REPO = "istupakov/parakeet-tdt-0.6b-v3-onnx"
ENCODER = "encoder-model.int8.onnx"
DECODER = "decoder_joint-model.int8.onnx"
CHUNK = 65_536
PLENTY = 1 << 40

FILES = {
    ENCODER: bytes(range(256)) * 4096,
    DECODER: b"joint" * 5000,
    "vocab.txt": b"<unk> 0\na 1\n<blk> 2\n",
    "config.json": b'{"model_type": "nemo-conformer-tdt", "features_size": 128, "subsampling_factor": 8}',
    "encoder-model.onnx": b"float" * 100,
    "decoder_joint-model.onnx": b"float" * 10,
    "nemo128.onnx": b"features",
    "README.md": b"# card",
    ".gitattributes": b"*.onnx filter=lfs",
}
"""As the repository of the catalog has them; the encoder has 1 MiB."""
NEEDED = {ENCODER, DECODER, "vocab.txt", "config.json"}


@dataclass
class Seen:
    """A watch that keeps all it was told; it may raise at some point."""

    totals: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    checked: list[tuple[int, int]] = field(default_factory=list)
    when: Callable[[int], None] = lambda _done: None

    def checking(self, done: int, total: int) -> None:
        self.checked.append((done, total))

    def begin(self, _snapshot: Snapshot, total: int) -> None:
        self.totals.append(total)

    def fetched(self, done: int) -> None:
        self.done.append(done)
        self.when(done)


@dataclass
class Rig:
    """An emulated hub and a folder for models."""

    hub: HubEmulator
    folder: Path
    cache: Path
    notices: list[str] = field(default_factory=list)
    token: str = ""
    offline: bool = False
    endpoint: str = ""

    @property
    def config(self) -> ModelsConfig:
        return ModelsConfig(
            dir=str(self.folder),
            endpoint=self.endpoint or self.hub.url(),
            token=self.token,
            offline=self.offline,
        )

    @property
    def store(self) -> Store:
        return Store(self.config, {})

    def pull(
        self,
        name: str = NAME,
        *,
        update: bool = False,
        floats: bool = False,
        free: int = PLENTY,
        watch: Seen | None = None,
    ) -> Pulled:
        with Hub(self.config, cache=self.cache, notice=self.notices.append) as hub:
            return pull.pull(
                self.store,
                reference(name),
                hub,
                watch or Seen(),
                update=update,
                floats=floats,
                free_space=lambda _folder: free,
            )

    def names(self) -> list[str]:
        """What the store takes for finished models."""
        return [getattr(one, "folder", Path()).name for one in self.store.installed()]


def reference(name: str = NAME) -> Reference:
    found = catalog.find(name)
    assert found is not None
    return found


@contextmanager
def rigged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A rig whose hub has the model; the client waits for nothing and writes in small pieces."""
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    waits_for_nothing = SimpleNamespace(sleep=lambda _seconds: None)
    monkeypatch.setattr(file_download, "time", waits_for_nothing)
    monkeypatch.setattr(_http, "time", waits_for_nothing)
    with HubEmulator() as hub:
        hub.repo(REPO, FILES)
        yield Rig(hub, tmp_path / "models", tmp_path / "cache")
