import json
from pathlib import Path

import pytest

from ears_edge.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ears-edge" / "optimized"


@pytest.mark.exact_products
def test_the_embedded_model_can_be_optimized(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "optimize", "embedded"]) == 0
    assert "optimized" in capsys.readouterr().out
    assert main(["models", "optimize", "embedded", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert Path(found["encoder"]).is_relative_to(cache)
    assert found["cosine"] == pytest.approx(1.0, abs=1e-6)


def test_a_model_that_can_not_be_optimized_is_told_with_the_reason(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.parent.mkdir()
    cache.write_text("in the way")
    assert main(["models", "optimize", "embedded"]) == 1
    assert "the original serves" in capsys.readouterr().out


def test_a_model_that_is_not_there_has_the_models_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "optimize", "no/such-model"]) == 69
    assert "not pulled" in capsys.readouterr().err
