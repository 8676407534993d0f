"""Devices, with the CPU in the place of others: one that takes fixed shapes alone, and one that fails."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from ears_edge.asr.acoustic import AcousticModel
from ears_edge.asr.providers import CPU, PROVIDERS, Placement, Provider
from ears_edge.config import Config, ModelConfig
from ears_edge.dsp.features import normalize
from ears_edge.engine import devices
from ears_edge.engine.comparison import WINDOWS_S, Comparison, Trial
from ears_edge.engine.likeness import MIN_COSINE, hear, likeness
from ears_edge.engine.loading import load
from ears_edge.engine.preparing import Order, Report, prepare
from ears_edge.engine.self_test import golden_columns
from ears_edge.errors import ModelError, ModelNotFoundError
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32

FOLDER = ModelFolder.open(resolve("embedded"))
FIXED = Provider(device="coreml", name=CPU.name, package="", floats="preferred", static=True)
"""The CPU as a device that wants shapes that never change."""
WANTING_FLOATS = replace(FIXED, device="cuda", floats="required")
BROKEN = Provider(device="cuda", name="NoSuchExecutionProvider", package="", floats="preferred")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path)}


@pytest.fixture(scope="module")
def columns() -> F32:
    return golden_columns(FOLDER.config.features_size)


def wanting(device: str, name: str = "embedded") -> Config:
    return Config(model=ModelConfig(name=name, device=device, threads=1))  # type: ignore[arg-type]  # a parameter


def test_the_settings_know_the_devices_of_the_table() -> None:
    assert get_args(get_type_hints(ModelConfig)["device"]) == ("auto", *PROVIDERS)


def test_in_fixed_shapes_the_model_hears_the_same(columns: F32) -> None:
    free = AcousticModel(FOLDER, threads=1)
    fixed = AcousticModel(FOLDER, threads=1, placement=Placement(provider=FIXED))
    first, second = hear(free, FOLDER, columns), hear(fixed, FOLDER, columns)
    assert [len(output) for output in first.outputs] == [len(output) for output in second.outputs]
    assert first.tokens == second.tokens
    assert likeness(first, second) >= MIN_COSINE
    longer = normalize(np.resize(columns, (700, columns.shape[1])))
    assert fixed.encode(longer).shape == free.encode(longer).shape


def test_devices_are_compared_and_what_came_of_it_is_found_again(env: dict[str, str]) -> None:
    config = wanting("auto")
    found = devices.compare(FOLDER, config, env, candidates=(FIXED, WANTING_FLOATS), rounds=1)
    assert found is not None
    same, missing = found.others
    assert same.equal
    assert same.encoder == FOLDER.encoder.name
    assert len(same.times_s) == len(found.cpu.times_s) == len(WINDOWS_S)
    assert "encoder-model.onnx: missing" in missing.fault
    assert not missing.equal
    assert devices.recorded(FOLDER, config, env) == found
    other = replace(config, model=replace(config.model, threads=2))
    assert devices.recorded(FOLDER, other, env) is None
    assert devices.recorded(FOLDER, config, {"XDG_CACHE_HOME": "/nowhere"}) is None


def test_at_start_devices_are_compared_once_if_there_is_a_choice(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wanting("auto").model
    told: list[Report] = []
    prepare(Order(model=model, compare=True), told.append, env)
    assert [report.phase for report in told] == ["ready"]  # there is only the CPU
    monkeypatch.setattr(devices, "installed", lambda *_: (CPU, FIXED))
    assert devices.undecided(FOLDER, wanting("auto"), env)
    assert not devices.undecided(FOLDER, wanting("cpu"), env)
    prepare(Order(model=model, compare=True), told.append, env)
    assert [report.phase for report in told[1:]] == ["comparing", "comparing", "ready"]
    assert re.search(r"embedded runs on \w+: the fastest that hears the same", told[2].note)
    assert not devices.undecided(FOLDER, wanting("auto"), env)
    prepare(Order(model=model, compare=True), told.append, env)
    assert [report.phase for report in told[4:]] == ["ready"]


def test_where_there_is_only_the_cpu_nothing_is_compared_or_recorded(
    env: dict[str, str], tmp_path: Path
) -> None:
    assert devices.compare(FOLDER, wanting("auto"), env, candidates=()) is None
    assert list(tmp_path.rglob("*")) == []


def record(env: dict[str, str], best: str) -> None:
    """As if a comparison had found that device to be best."""
    trial = Trial(device="cpu", times_s=(1.0,), cosine=1.0, same_tokens=True)
    found = Comparison(cpu=trial, others=(replace(trial, device=best, times_s=(0.1,)),))
    devices.keep(found, FOLDER, wanting("auto"), env)


def test_auto_is_the_cpu_until_a_comparison_found_a_better_device(env: dict[str, str]) -> None:
    providers = {**PROVIDERS, "coreml": FIXED}
    assert load(wanting("auto"), env, providers).device == "cpu"
    record(env, "coreml")
    assert load(wanting("auto"), env, providers).device == "coreml"
    assert load(wanting("cpu"), env, providers).device == "cpu"


def test_what_was_better_once_and_is_gone_or_broken_gives_way_to_the_cpu(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    record(env, "cuda")
    assert load(wanting("auto"), env, {"cpu": CPU}).device == "cpu"
    assert not caplog.records
    assert load(wanting("auto"), env, {**PROVIDERS, "cuda": WANTING_FLOATS}).device == "cpu"
    (line,) = caplog.messages
    assert "so the CPU serves" in line
    assert "encoder-model.onnx" in line


def test_a_record_that_can_not_be_read_counts_for_nothing(env: dict[str, str], tmp_path: Path) -> None:
    record(env, "coreml")
    (file,) = tmp_path.rglob("*.json")
    file.write_text("{", encoding="ascii")
    assert devices.recorded(FOLDER, wanting("auto"), env) is None


def test_a_device_that_is_not_installed_names_the_package(env: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="onnxruntime-gpu") as caught:
        load(wanting("cuda"), env, {"cpu": CPU, "cuda": PROVIDERS["cuda"]})
    assert caught.value.code == "device-missing"


def test_a_device_that_was_asked_for_and_needs_a_float_encoder_says_how_to_have_it(
    env: dict[str, str],
) -> None:
    with pytest.raises(ModelNotFoundError, match="pull --float"):
        load(wanting("cuda"), env, {**PROVIDERS, "cuda": WANTING_FLOATS})


def test_the_cpu_takes_int8_and_devices_the_float_encoder(env: dict[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(FOLDER.path, both)
    (both / "encoder-model.onnx").write_bytes(b"never read by the CPU")
    assert load(wanting("cpu", str(both)), env).device == "cpu"
    with pytest.raises(ModelError, match=r"encoder-model\.onnx: can't be loaded"):
        load(wanting("coreml", str(both)), env, {**PROVIDERS, "coreml": FIXED})
    (both / "encoder-model.onnx").write_bytes(FOLDER.encoder.read_bytes())
    assert load(wanting("cuda", str(both)), env, {**PROVIDERS, "cuda": WANTING_FLOATS}).device == "cuda"


def test_what_a_device_compiles_goes_to_a_folder_of_the_cache(env: dict[str, str], tmp_path: Path) -> None:
    caching = replace(FIXED, cache_option="ModelCacheDirectory")
    where = devices.placement("coreml", wanting("coreml"), env, {**PROVIDERS, "coreml": caching})
    assert where.compiled == tmp_path / "ears-edge" / "coreml"
    assert devices.placement("cpu", wanting("cpu"), env).compiled is None


def test_a_device_that_can_not_be_started_is_told() -> None:
    with pytest.warns(UserWarning, match="not in available"), pytest.raises(ModelError) as caught:
        AcousticModel(FOLDER, threads=1, placement=Placement(provider=BROKEN))
    assert caught.value.code == "device-failed"
