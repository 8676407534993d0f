"""What is known of a model before it is loaded, and what has to be done for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from ears_edge.config import Config, ModelConfig, ModelsConfig
from ears_edge.engine import loading
from ears_edge.engine.optimize import longest_window_s, optimize
from ears_edge.errors import ModelCorruptError, ModelNotFoundError
from ears_edge.models.catalog import CATALOG
from ears_edge.models.folder import EMBEDDED, ModelFolder, resolve
from ears_edge.models.optimized import cache_folder


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder with the embedded model's files."""
    folder = tmp_path / "own"
    folder.mkdir()
    for path in resolve(EMBEDDED).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def wanted(name: str, tmp_path: Path, **model: bool) -> Config:
    settings = ModelConfig(name=name, optimize=model.get("optimize", True))
    return Config(model=settings, models=ModelsConfig(dir=str(tmp_path / "models")))


def test_the_embedded_model_is_here_and_is_optimized_once(tmp_path: Path, env: dict[str, str]) -> None:
    config = wanted(EMBEDDED, tmp_path)
    found = loading.survey(config, env)
    assert (found.info.name, found.pull, found.optimize, found.compare) == ("mini-en", False, True, False)
    folder, window_s = ModelFolder.open(resolve(EMBEDDED)), longest_window_s(config.engine)
    assert optimize(folder, cache_folder(env), window_s=window_s).encoder
    assert not loading.survey(config, env).optimize


def test_a_model_of_the_catalog_that_is_not_here_is_pulled_and_its_languages_are_known(
    tmp_path: Path, env: dict[str, str]
) -> None:
    name = "parakeet-tdt-0.6b-v3"
    config = wanted(name, tmp_path)
    found = loading.survey(config, env)
    assert found.pull
    assert (found.info.name, found.info.languages) == (name, CATALOG[name].languages)
    assert found.info.attribution.name == "NVIDIA"
    config = replace(config, model=replace(config.model, languages=("de",)))
    assert loading.survey(config, env).info.languages == ("de",)
    loading.exists(config)


def test_any_repository_may_be_pulled(tmp_path: Path, env: dict[str, str]) -> None:
    found = loading.survey(wanted("some/where", tmp_path), env)
    assert (found.info.name, found.info.languages, found.pull) == ("some/where", (), True)


def test_a_folder_is_optimized_once(own: Path, tmp_path: Path, env: dict[str, str]) -> None:
    config = wanted(str(own), tmp_path)
    assert loading.survey(config, env) == loading.Survey(info=ModelFolder.open(own).info, optimize=True)
    assert not loading.survey(wanted(str(own), tmp_path, optimize=False), env).optimize
    window_s = longest_window_s(config.engine)
    assert optimize(ModelFolder.open(own), cache_folder(env), window_s=window_s).encoder
    assert not loading.survey(config, env).optimize


def test_a_name_that_no_model_can_have_is_told_at_once(tmp_path: Path, env: dict[str, str]) -> None:
    config = wanted(str(tmp_path / "nowhere"), tmp_path)
    with pytest.raises(ModelNotFoundError):
        loading.exists(config)
    with pytest.raises(ModelNotFoundError):
        loading.survey(config, env)


def test_a_folder_that_is_damaged_is_no_reason_to_pull(
    own: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    (own / "vocab.txt").write_bytes(b"\xff")
    config = wanted(str(own), tmp_path)
    loading.exists(config)
    with pytest.raises(ModelCorruptError):
        loading.survey(config, env)
