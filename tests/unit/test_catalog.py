"""What a user may write for a model, and what the catalog knows."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ears_edge.models import catalog, layout
from ears_edge.models.card import attribution
from ears_edge.models.catalog import CATALOG, EMBEDDED, Reference
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.models.location import models_folder

V3 = "parakeet-tdt-0.6b-v3"
V3_REPO = "istupakov/parakeet-tdt-0.6b-v3-onnx"


@pytest.mark.parametrize(
    ("text", "name", "repo", "revision", "folder"),
    [
        (V3, V3, V3_REPO, "main", V3),
        (V3_REPO, V3, V3_REPO, "main", V3),
        (f"{V3}@v1", f"{V3}@v1", V3_REPO, "v1", f"{V3}@v1"),
        ("moondream/parakeet-ultra", "moondream/parakeet-ultra", None, "main", "moondream--parakeet-ultra"),
        ("a/b@refs/pr/3", "a/b@refs/pr/3", "a/b", "refs/pr/3", "a--b@refs%2Fpr%2F3"),
        ("a/b@0123abc", "a/b@0123abc", "a/b", "0123abc", "a--b@0123abc"),
    ],
)
def test_names_and_repositories_are_understood(
    text: str, name: str, repo: str | None, revision: str, folder: str
) -> None:
    found = catalog.find(text)
    assert found is not None
    assert (found.name, found.repo) == (name, repo or text)
    assert (found.wanted_revision, found.folder_name) == (revision, folder)
    assert catalog.find(found.name) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "parakeet",
        EMBEDDED,
        "/models/x",
        "./x/y",
        "~/x",
        "../x",
        "a/../b",
        "a/b/c",
        "a/b@",
        "a/b@../c",
        "a/b@x//y",
        "a--b/c",
        "a/b c",
        "a/b\n",
        "a\\b",
        "https://huggingface.co/a/b",
        ".hidden/x",
        "a/.hidden",
        "a/" + "b" * 300,
    ],
)
def test_what_is_neither_is_nothing_that_could_be_pulled(text: str) -> None:
    assert catalog.find(text) is None


@given(st.text(max_size=40) | st.text(alphabet="ab-./@~%", max_size=12))
def test_a_folder_name_never_leads_elsewhere_and_is_that_of_one_model_only(text: str) -> None:
    found = catalog.find(text)
    if found is not None:
        assert Path("/models", found.folder_name).resolve().parent == Path("/models")
        assert not found.folder_name.startswith(".")
        assert catalog.find(found.name) == found


@given(st.lists(st.from_regex(r"[ab.-]{1,3}(/[ab.-]{1,3})?(@[ab./%-]{1,4})?", fullmatch=True), max_size=20))
def test_no_two_models_share_a_folder(texts: list[str]) -> None:
    found = {reference.name: reference for text in texts if (reference := catalog.find(text))}
    assert len({reference.folder_name for reference in found.values()}) == len(found)


def test_every_entry_tells_licence_languages_size_and_memory() -> None:
    assert set(CATALOG) == {V3, "parakeet-tdt-0.6b-v2", EMBEDDED}
    for name, entry in CATALOG.items():
        assert entry.name == name
        assert entry.licence
        assert entry.author
        assert entry.languages
        assert all(re.fullmatch(r"[a-z]{2}", code) for code in entry.languages)
        assert entry.download_bytes < entry.memory_bytes
        assert (entry.repo == "") == (name == EMBEDDED)
    assert len(set(CATALOG[V3].languages)) == 25


def test_the_entry_of_the_embedded_model_tells_what_its_card_tells() -> None:
    folder = ModelFolder.open(resolve(EMBEDDED))
    entry = CATALOG[EMBEDDED]
    assert (entry.licence, entry.languages) == (folder.info.licence, folder.info.languages)
    assert entry.author == folder.info.attribution.name
    size = sum(path.stat().st_size for path in folder.path.iterdir())
    assert abs(entry.download_bytes - size) < 1_000_000


def test_attribution_names_author_licence_and_what_was_changed() -> None:
    text = " ".join(attribution(Reference(V3_REPO, "", CATALOG[V3])))
    for told in ("NVIDIA", "CC-BY-4.0", CATALOG[V3].licence_url, "istupakov", CATALOG[V3].changes):
        assert told in text
    other = " ".join(attribution(Reference("somebody/model"), "mit"))
    assert "somebody" in other
    assert "'mit'" in other


@pytest.mark.parametrize(
    ("available", "files", "missing"),
    [
        (
            {"encoder-model.int8.onnx", "encoder-model.onnx", "decoder_joint-model.int8.onnx", *layout.TEXTS},
            {"encoder-model.int8.onnx", "decoder_joint-model.int8.onnx", *layout.TEXTS},
            (),
        ),
        (
            {"encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx", *layout.TEXTS},
            {"encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx", *layout.TEXTS},
            (),
        ),
        (
            {"model.safetensors", "config.json"},
            {"config.json"},
            ("encoder-model.int8.onnx", "decoder_joint-model.int8.onnx", "vocab.txt"),
        ),
        (
            {"encoder-model.int8.onnx", "encoder-model.onnx.data", "NOTICE", *layout.TEXTS},
            {"encoder-model.int8.onnx", "NOTICE", *layout.TEXTS},
            ("decoder_joint-model.int8.onnx",),
        ),
    ],
)
def test_the_files_that_make_a_model(available: set[str], files: set[str], missing: tuple[str, ...]) -> None:
    choice = layout.choose(available)
    assert (set(choice.files), choice.missing) == (files, missing)
    assert set(choice.files) <= set(layout.possible())


@pytest.mark.parametrize(
    ("configured", "env", "folder"),
    [
        ("/m", {"XDG_DATA_HOME": "/d", "HOME": "/h"}, "/m"),
        ("~/m", {"HOME": "/h"}, "/h/m"),
        ("~", {"HOME": "/h"}, "/h"),
        ("", {"STATE_DIRECTORY": "/s:/t", "XDG_DATA_HOME": "/d"}, "/s/models"),
        ("", {"XDG_DATA_HOME": "/d", "HOME": "/h"}, "/d/ears-edge/models"),
        ("", {"XDG_DATA_HOME": "d", "HOME": "/h"}, "/h/.local/share/ears-edge/models"),
        ("", {"HOME": "/h"}, "/h/.local/share/ears-edge/models"),
        ("", {}, "/var/lib/ears-edge/models"),
    ],
)
def test_where_pulled_models_live(configured: str, env: dict[str, str], folder: str) -> None:
    assert models_folder(configured, env) == Path(folder)
