"""The model that serves: its own files, or what was made of them for this machine."""

from pathlib import Path

import pytest

from ears_edge.asr.providers import Placement
from ears_edge.config import Config
from ears_edge.dsp.features import LogMel
from ears_edge.engine.loading import load
from ears_edge.engine.optimize import longest_window_s, optimize
from ears_edge.engine.recognizer import TdtRecognizer, Work
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import cache_folder
from tests.clips import clip


def tokens_of(recognizer: TdtRecognizer) -> list[int]:
    columns = LogMel(recognizer.n_mels).feed(clip("kitchen_light_on").heard())
    work = Work(urgency="final", columns=columns, begin=0, start=0, stop=len(columns), state=None)
    return [token.id for token in recognizer.decode(work).tokens]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    env = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    folder = ModelFolder.open(resolve("embedded"))
    verdict = optimize(folder, cache_folder(env), window_s=longest_window_s(Config().engine))
    assert verdict.encoder is not None
    return env


def test_an_optimized_encoder_is_taken_and_hears_the_same(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path | None] = []
    original = TdtRecognizer.__init__

    def noting(
        self: TdtRecognizer,
        folder: ModelFolder,
        *,
        threads: int,
        rewritten: Path | None = None,
        placement: Placement,
    ) -> None:
        loaded.append(rewritten)
        original(self, folder, threads=threads, rewritten=rewritten, placement=placement)

    monkeypatch.setattr(TdtRecognizer, "__init__", noting)
    optimized = load(Config(), env)
    plain = load(Config(), {"XDG_CACHE_HOME": "/nowhere"})
    assert [path is not None for path in loaded] == [True, False]
    assert tokens_of(optimized) == tokens_of(plain)


def test_an_optimized_encoder_that_is_broken_gives_way_to_the_original(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    for file in Path(env["XDG_CACHE_HOME"]).rglob("*.onnx"):
        size = file.stat().st_size
        file.write_bytes(b"\0" * size)
    assert tokens_of(load(Config(), env))
    assert "so the original serves" in caplog.text
