"""The child process that has a model ready: what it tells, what it leaves, and that it ends with us."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ears_edge.config import ModelConfig, ModelsConfig
from ears_edge.engine import preparation
from ears_edge.engine.preparing import Order, Report
from ears_edge.errors import ModelError, UnavailableError
from ears_edge.models.folder import EMBEDDED, resolve
from ears_edge.typed import to_json
from tests.models_rig import NAME, REPO, Rig, rigged

PATIENCE_S = 60.0


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A hub whose repository is the embedded model, under a large one's name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with rigged(tmp_path, monkeypatch) as built:
        built.hub.repo(REPO, {path.name: path.read_bytes() for path in resolve(EMBEDDED).iterdir()})
        yield built


def order(rig: Rig, name: str = NAME, *, pull: bool = False, optimize: bool = False) -> Order:
    return Order(model=ModelConfig(name=name), models=rig.config, pull=pull, optimize=optimize, compare=True)


async def test_a_model_is_fetched_and_optimized_and_all_is_told(rig: Rig, tmp_path: Path) -> None:
    told: list[Report] = []
    await preparation.prepare(order(rig, pull=True, optimize=True), told.append)
    assert (rig.folder / NAME / "manifest.json").is_file()
    assert [path.name for path in (tmp_path / "cache").rglob("encoder.onnx")] == ["encoder.onnx"]
    phases = [report.phase for report in told]
    assert phases == sorted(phases)  # fetching, then optimizing
    assert any("CC-BY-4.0" in report.note for report in told)
    parts = [report.done for report in told if report.done is not None]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert len(parts) <= 102


async def test_what_the_hub_refuses_is_an_error_with_its_code(rig: Rig) -> None:
    with pytest.raises(ModelError) as refused:
        await preparation.prepare(order(rig, "some/where", pull=True), lambda _: None)
    assert refused.value.code == "hub-no-repo"
    nobody = Order(
        model=ModelConfig(name=NAME),
        models=ModelsConfig(dir=str(rig.folder), endpoint="http://127.0.0.1:9"),
        pull=True,
    )
    with pytest.raises(UnavailableError) as later:
        await preparation.prepare(nobody, lambda _: None)
    assert later.value.code == "hub-unreachable"


async def test_an_encoder_that_cannot_be_rewritten_is_a_note_and_no_failure(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for path in resolve(EMBEDDED).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "encoder-model.int8.onnx.data").write_bytes(b"")
    told: list[Report] = []
    await preparation.prepare(order(rig, str(folder), optimize=True), told.append)
    assert [report.phase for report in told] == ["optimizing", "optimizing"]
    assert "its own encoder serves: the encoder's weights are in a file of their own" in told[-1].note


async def test_who_gives_up_ends_the_child_and_the_next_one_goes_on(rig: Rig) -> None:
    rig.hub.hold_after = 3_000_000
    preparing = asyncio.create_task(preparation.prepare(order(rig, pull=True), lambda _: None))
    assert await asyncio.to_thread(rig.hub.held.wait, PATIENCE_S)
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    rig.hub.hold_after = None
    rig.hub.let_go.set()
    assert not (rig.folder / NAME).exists()
    await preparation.prepare(order(rig, pull=True), lambda _: None)
    assert (rig.folder / NAME / "manifest.json").is_file()
    deliveries = [asked.path for asked in rig.hub.asked if asked.method == "GET"]
    assert len([path for path in deliveries if path.endswith("/main/vocab.txt")]) <= 1  # kept, not begun anew


def test_the_child_ends_when_its_parent_does(rig: Rig) -> None:
    rig.hub.hold_after = 3_000_000
    child = subprocess.Popen(  # noqa: S603  # our own module
        [sys.executable, "-m", preparation.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdin is not None
        child.stdin.write(to_json(order(rig, pull=True)).encode() + b"\n")
        child.stdin.flush()
        assert rig.hub.held.wait(PATIENCE_S)
        child.stdin.close()  # as the system does when the parent has died
        assert child.wait(PATIENCE_S) == 1


async def test_a_child_that_dies_without_a_word_is_told_as_such(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text, said in [
        ("dies", "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)", "has ended"),
        ("babbles", "import sys; sys.stdin.readline(); print('hello')", "talks nonsense"),
        ("drowns", "import sys; sys.stdin.readline(); print('x' * 1_000_000)", "talks nonsense"),
    ]:
        (tmp_path / f"{name}_child.py").write_text(text, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setattr(preparation, "MODULE", f"{name}_child")
        with pytest.raises(UnavailableError, match=said):
            await preparation.prepare(order(rig, pull=True), lambda _: None)


async def test_a_child_that_can_not_be_started_is_told_and_may_succeed_later(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(UnavailableError, match=f"prepares {NAME} can't be started: No such file"):
        await preparation.prepare(order(rig), lambda _: None)
