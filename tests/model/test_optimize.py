"""The embedded model, rewritten for this machine, against itself."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.config import EngineConfig
from ears_edge.dsp.features import LogMel
from ears_edge.engine.optimize import Verdict, cached, longest_window_s, optimize
from ears_edge.engine.recognizer import TdtRecognizer, Work
from ears_edge.errors import InferenceError, UnavailableError
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.optimized import Cache
from tests.clips import Clip, clips

FOLDER = ModelFolder.open(resolve("embedded"))
WINDOW_S = 60.0
"""Longer than all clips."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("optimized")


@pytest.fixture(scope="module")
def verdict(cache: Path) -> Verdict:
    return optimize(FOLDER, cache, window_s=WINDOW_S)


@pytest.fixture(scope="module")
def recognizers(verdict: Verdict) -> tuple[TdtRecognizer, TdtRecognizer]:
    return TdtRecognizer(FOLDER, threads=2), TdtRecognizer(FOLDER, threads=2, rewritten=verdict.encoder)


def ids(clip: Clip) -> str:
    return clip.name


@pytest.mark.exact_products
def test_the_embedded_model_is_rewritten_and_found_again(verdict: Verdict, cache: Path) -> None:
    assert verdict.encoder is not None
    assert not verdict.fault
    assert verdict.cosine == pytest.approx(1.0, abs=1e-6)
    assert cached(FOLDER, cache, window_s=WINDOW_S) == verdict
    assert cached(FOLDER, cache, window_s=WINDOW_S - 10) == verdict
    assert cached(FOLDER, cache, window_s=WINDOW_S + 10) is None
    assert optimize(FOLDER, cache, window_s=WINDOW_S) == verdict


@pytest.mark.exact_products
@pytest.mark.parametrize("clip", clips(), ids=ids)
def test_every_clip_has_the_same_tokens_at_the_same_frames(
    clip: Clip, recognizers: tuple[TdtRecognizer, TdtRecognizer]
) -> None:
    mel, samples = LogMel(128), clip.heard()
    columns = np.concatenate((mel.feed(samples), mel.flush()))
    work = Work(urgency="final", columns=columns, begin=0, start=0, stop=len(columns), state=None)
    original, rewritten = (recognizer.decode(work) for recognizer in recognizers)
    assert [token[:3] for token in original.tokens] == [token[:3] for token in rewritten.tokens]


@pytest.mark.exact_products
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="was seen on x86-64 alone")
def test_windows_of_any_length_give_what_the_original_gives_bit_by_bit(verdict: Verdict) -> None:
    original = AcousticModel(FOLDER, threads=2)
    rewritten = AcousticModel(FOLDER, threads=2, rewritten=verdict.encoder)
    rng = np.random.default_rng(7)
    for length in (*range(1, 26), 63, 64, 65, 200, 399, 400, 401, 1500):
        columns = rng.standard_normal((length, 128)).astype(np.float32)
        assert np.array_equal(original.encode(columns), rewritten.encode(columns))


def test_a_window_longer_than_it_was_made_for_is_refused(tmp_path: Path) -> None:
    verdict = optimize(FOLDER, tmp_path, window_s=2.0)
    model = AcousticModel(FOLDER, threads=1, rewritten=verdict.encoder)
    longest = 38 * 8  # 3 s, with the margin, rounded up to frames
    assert len(model.encode(np.zeros((longest, 128), np.float32))) == 38
    with pytest.raises(InferenceError):
        model.encode(np.zeros((longest + 1, 128), np.float32))


def test_the_longest_window_is_that_of_the_settings() -> None:
    assert longest_window_s(EngineConfig()) == 15.0
    assert longest_window_s(EngineConfig(left_s=20, chunk_s=10, right_s=5)) == 35.0


def changed(tmp_path: Path, model: onnx.ModelProto) -> ModelFolder:
    """The embedded model with another encoder."""
    path = tmp_path / "encoder-model.int8.onnx"
    onnx.save(model, path)
    return replace(FOLDER, encoder=path)


def hiding_what_is_there() -> onnx.ModelProto:
    """An encoder with a mask the wrong way round: only what is behind the end passes."""
    model = onnx.load(FOLDER.encoder)
    graph, node = model.graph, helper.make_node
    output = next(n for n in graph.node if n.output[0] == "outputs")
    output.output[0] = "all"
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "never"))
    graph.initializer.append(numpy_helper.from_array(np.array(1e-3, np.float32), "hush"))
    graph.node.append(node("Less", ["never", "length"], ["there"]))
    graph.node.append(node("Where", ["there", "hush", "all"], ["outputs"]))
    return model


def test_a_rewrite_that_says_something_else_is_thrown_away_and_not_tried_again(tmp_path: Path) -> None:
    folder, cache = changed(tmp_path, hiding_what_is_there()), tmp_path / "cache"
    verdict = optimize(folder, cache, window_s=15)
    assert verdict.encoder is None
    assert "too unlike the original" in verdict.fault
    assert verdict.cosine < 0.999
    assert cached(folder, cache, window_s=15) == verdict
    assert not list(cache.rglob("*.onnx*"))


def test_an_encoder_without_the_known_patterns_serves_as_it_is(tmp_path: Path) -> None:
    model = onnx.load(FOLDER.encoder)
    for node in model.graph.node:
        if node.op_type == "ConvInteger":
            node.input[2] = ""  # no zero point: not as quantize_dynamic makes it
    folder, cache = changed(tmp_path, model), tmp_path / "cache"
    verdict = optimize(folder, cache, window_s=15)
    assert verdict.encoder is None
    assert "no integer convolutions" in verdict.fault
    assert cached(folder, cache, window_s=15) == verdict


def test_a_broken_encoder_and_one_with_weights_elsewhere_are_told(tmp_path: Path) -> None:
    path = tmp_path / "encoder-model.int8.onnx"
    folder = replace(FOLDER, encoder=path)
    path.write_bytes(FOLDER.encoder.read_bytes()[:100_000])
    assert "not a sound ONNX file" in optimize(folder, tmp_path / "cache", window_s=15).fault
    path.with_name(f"{path.name}.data").touch()
    assert "file of their own" in optimize(folder, tmp_path / "cache2", window_s=15).fault


def test_without_room_nothing_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "encoder-model.int8.onnx"
    with path.open("wb") as file:
        file.truncate(2**43)  # eight terabytes of nothing
    verdict = optimize(replace(FOLDER, encoder=path), tmp_path / "cache", window_s=15)
    assert verdict.encoder is None
    assert "MB are needed" in verdict.fault


def test_a_cache_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    verdict = optimize(FOLDER, tmp_path / "cache", window_s=15)
    assert verdict.encoder is None
    assert str(tmp_path) in verdict.fault


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    with Cache(tmp_path).workshop(), pytest.raises(UnavailableError):
        optimize(FOLDER, tmp_path, window_s=15)


def test_the_models_own_files_are_only_read(verdict: Verdict, cache: Path) -> None:
    assert verdict.encoder is not None
    assert cache in verdict.encoder.parents
    assert not {path.name for path in FOLDER.path.iterdir()} & {"encoder.onnx", "encoder.onnx.data"}
    assert os.fspath(FOLDER.path) not in os.fspath(verdict.encoder)
