"""The models on this machine, without a network: which count, what is wrong with them, what remains."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ears_edge.cli import main
from ears_edge.config import ModelsConfig
from ears_edge.errors import ModelCorruptError, ModelNotFoundError, UnavailableError
from ears_edge.models import catalog, manifest
from ears_edge.models.catalog import Reference
from ears_edge.models.folder import resolve
from ears_edge.models.lock import exclusive
from ears_edge.models.manifest import Manifest
from ears_edge.models.optimized import ENCODER, Cache, Record, Target
from ears_edge.models.store import Installed, Store

NAME = "parakeet-tdt-0.6b-v3"
REPO = "istupakov/parakeet-tdt-0.6b-v3-onnx"
CONTENT = {"vocab.txt": b"<unk> 0\n<blk> 1\n", "encoder-model.int8.onnx": b"graph" * 100}

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(ModelsConfig(dir=str(tmp_path)), {})


def reference(name: str = NAME) -> Reference:
    found = catalog.find(name)
    assert found is not None
    return found


def put(folder: Path, name: str = NAME) -> Manifest:
    """A model as a pull leaves it."""
    folder.mkdir(parents=True)
    for file, content in CONTENT.items():
        (folder / file).write_bytes(content)
    record = Manifest(
        name=name,
        repo=reference(name).repo,
        revision="main",
        commit="0" * 40,
        licence="CC-BY-4.0",
        files=tuple(manifest.record(folder / file) for file in CONTENT),
    )
    manifest.write(folder, record)
    return record


def names(store: Store) -> list[str]:
    return [one.reference.name for one in store.installed() if isinstance(one, Installed)]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    record = put(tmp_path / "model")
    assert manifest.read(tmp_path / "model") == record
    assert record.size == sum(map(len, CONTENT.values()))
    assert record.files[0].sha256 == hashlib.sha256(CONTENT["vocab.txt"]).hexdigest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "truncated"),
        ("[]", "object"),
        ('{"format": 1}', "name"),
        ('{"format": 9, "name": "x", "repo": "", "revision": "", "commit": "", "files": []}', "format 9"),
        (
            '{"name": "x", "repo": "", "revision": "", "commit": "", "files": '
            '[{"name": "../../etc/passwd", "size": 1, "sha256": "' + "0" * 64 + '"}]}',
            "files",
        ),
        (
            '{"name": "x", "repo": "", "revision": "", "commit": "", "files": '
            '[{"name": "a", "size": -1, "sha256": "' + "0" * 64 + '"}]}',
            "files",
        ),
        (" " * (manifest.MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_broken_manifest_is_told_and_hides_no_other_model(store: Store, text: str, said: str) -> None:
    put(store.folder(reference()))
    broken = store.root / "a--b"
    broken.mkdir()
    (broken / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelCorruptError, match=said):
        manifest.read(broken)
    assert names(store) == [NAME]
    (fault,) = (one for one in store.installed() if isinstance(one, ModelCorruptError))
    assert str(broken) in str(fault)


@pytest.mark.parametrize(
    ("harm", "problem", "obvious"),
    [
        (lambda path: path.unlink(), "missing", True),
        (lambda path: path.write_bytes(b"graph"), "5 bytes, 500 were pulled", True),
        (lambda path: path.write_bytes(b"GRAPH" * 100), "SHA-256 is", False),
        (lambda path: (path.unlink(), path.mkdir()), "not a file", True),
    ],
)
def test_each_kind_of_damage_is_found(
    store: Store, harm: Callable[[Path], object], problem: str, *, obvious: bool
) -> None:
    folder = store.folder(reference())
    put(folder)
    harm(folder / "encoder-model.int8.onnx")
    found = store.find(reference())
    assert found is not None
    (fault,) = found.faults()
    assert fault.name == "encoder-model.int8.onnx"
    assert problem in fault.problem
    assert [one.name for one in found.obvious_faults()] == [fault.name] * obvious


def test_verifying_tells_how_far_it_is(store: Store) -> None:
    put(store.folder(reference()))
    found = store.find(reference())
    assert found is not None
    told: list[int] = []
    assert list(found.faults(told.append)) == []
    assert told == [16, 516]


def test_only_finished_folders_of_ours_count(store: Store) -> None:
    put(store.folder(reference()))
    put(store.root / "copied-by-hand")
    put(store.incoming(reference("a/b")), "a/b")
    put(store.leaving(reference("c/d")), "c/d")
    (store.root / "e--f").mkdir()
    (store.root / "e--f" / "vocab.txt").write_bytes(b"")
    (store.root / "file").write_bytes(b"")
    assert names(store) == [NAME]
    assert store.find(reference("a/b")) is None
    assert store.half_fetched(reference("a/b")) > 0


def test_a_store_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    store = Store(ModelsConfig(dir=str(tmp_path / "none")), {})
    assert list(store.installed()) == []
    assert store.find(reference()) is None
    with pytest.raises(ModelNotFoundError, match="nothing to remove"):
        store.remove(reference())
    assert not (tmp_path / "none").exists()


def test_removing_takes_the_model_and_what_was_half_fetched(store: Store) -> None:
    record = put(store.folder(reference()))
    put(store.folder(reference("a/b")), "a/b")
    (store.incoming(reference())).mkdir(parents=True)
    (store.incoming(reference()) / ".partial").write_bytes(b"x" * 1000)
    assert store.remove(reference()) >= record.size + 1000
    assert names(store) == ["a/b"]
    left = {path.name for path in store.root.rglob("*") if path.is_file() and path.parent.name != ".locks"}
    assert left == {*CONTENT, "manifest.json"}
    with pytest.raises(ModelNotFoundError):
        store.remove(reference())


def test_a_replacement_that_was_cut_short_is_completed(store: Store) -> None:
    """Killed between the two renames: the new one is whole, the old one has lost its name."""
    put(store.leaving(reference()))
    put(store.incoming(reference()))
    assert names(store) == []
    with store.alone(reference()):
        pass
    assert names(store) == [NAME]
    assert not store.leaving(reference()).exists()


def test_a_removal_that_was_cut_short_is_completed(store: Store) -> None:
    put(store.leaving(reference()))
    store.incoming(reference()).mkdir(parents=True)
    with store.alone(reference()):
        pass
    assert names(store) == []
    assert not store.leaving(reference()).exists()
    assert store.incoming(reference()).exists()


def test_the_lock_is_for_one_at_a_time_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "x"
    with exclusive(path, "x"):
        with (
            pytest.raises(UnavailableError, match=f"process {os.getpid()} is at it") as caught,
            exclusive(path, "x"),
        ):
            pass
        assert caught.value.code == "model-locked"
        with exclusive(tmp_path / "locks" / "y", "y"):
            pass
    with exclusive(path, "x"):
        pass


@pytest.mark.parametrize("name", [NAME, REPO])
def test_a_setting_means_the_pulled_model_by_its_name_or_repository(store: Store, name: str) -> None:
    config = ModelsConfig(dir=str(store.root))
    with pytest.raises(ModelNotFoundError, match=f"ears-edge models pull {NAME}"):
        resolve(name, config)
    put(store.folder(reference()))
    assert resolve(name, config) == store.folder(reference())
    (store.folder(reference()) / "vocab.txt").write_bytes(b"")
    with pytest.raises(ModelCorruptError, match=f"vocab.txt: 0 bytes.*ears-edge models pull {NAME}"):
        resolve(name, config)


def test_a_folder_goes_before_a_repository_but_not_before_a_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "a" / "b").mkdir(parents=True)
    (here / NAME).mkdir()
    monkeypatch.chdir(here)
    config = ModelsConfig(dir=str(store.root))
    assert resolve("a/b", config) == Path("a/b")
    with pytest.raises(ModelNotFoundError, match="not pulled yet"):
        resolve(NAME, config)
    assert resolve(f"./{NAME}", config) == Path(NAME)
    with pytest.raises(ModelNotFoundError, match="no such folder, and not pulled yet"):
        resolve("c/d", config)


def command(store: Store, *argv: str) -> int:
    return main(["models", *argv, "--set", f"models.dir={store.root}", "--set", "models.offline=true"])


def test_the_list_shows_the_catalog_and_all_that_is_here(store: Store, capsys: Captured) -> None:
    put(store.folder(reference()))
    put(store.folder(reference("a/b")), "a/b")
    (store.folder(reference("a/b")) / "vocab.txt").unlink()
    assert command(store, "list") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows if row and row[0] in {*catalog.CATALOG, "a/b"}] == [
        *catalog.CATALOG,
        "a/b",
    ]
    assert "pulled" in next(row for row in rows if row and row[0] == NAME)
    assert "damaged" in next(row for row in rows if row and row[0] == "a/b")
    assert str(store.root) in out
    assert command(store, "list", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dir"] == str(store.root)
    assert [(row["name"], row["installed"], row["wanted"]) for row in told["models"]] == [
        (NAME, True, False),
        ("parakeet-tdt-0.6b-v2", False, False),
        ("embedded", True, True),
        ("a/b", True, False),
    ]


def test_info_of_each_kind_of_model(store: Store, capsys: Captured) -> None:
    put(store.folder(reference()))
    for name, told in {
        NAME: ("NVIDIA", "bg hr cs", "1500 MB", "vocab.txt"),
        "embedded": ("MIT", "en"),
        str(resolve("embedded")): ("small English model",),
        "a/b": ("a/b", "main", "no"),
    }.items():
        assert command(store, "info", name) == 0
        out = capsys.readouterr().out
        assert [words for words in told if words not in out] == []
        assert command(store, "info", name, "--json") == 0
        assert json.loads(capsys.readouterr().out)["name"] == name


def optimized(model: Path, cache: Path, encoder: str = "encoder-model.int8.onnx") -> Path:
    """As if the model's encoder had been rewritten: two million bytes."""
    original = model / encoder
    record = Record(
        original=str(original),
        size=original.stat().st_size,
        modified_ns=original.stat().st_mtime_ns,
        sha256=manifest.sha256(original),
        target=Target(runtime="1.32.0", cpu="Linux", frames=200),
        files={ENCODER: 2_000_000},
        cosine=1.0,
    )
    with Cache(cache).workshop() as workshop:
        (workshop / ENCODER).write_bytes(bytes(2_000_000))
        return Cache(cache).keep(workshop, record)


def test_remove_takes_the_optimized_encoders_of_the_model_along(
    store: Store, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "ears-edge" / "optimized"
    put(store.folder(reference()))
    mine = optimized(store.folder(reference()), cache)
    other = optimized(store.folder(reference()), cache, "vocab.txt")
    assert command(store, "remove", NAME) == 0
    assert "removed, 2 MB freed" in capsys.readouterr().out
    assert not mine.exists()
    assert other.exists()


def test_verify_compares_and_says_what_to_do(store: Store, capsys: Captured) -> None:
    put(store.folder(reference()))
    assert command(store, "verify", NAME) == 0
    assert "all 2 files are as pulled" in capsys.readouterr().out
    (store.folder(reference()) / "vocab.txt").write_bytes(b"0123456789abcdef")
    assert command(store, "verify", NAME, "--json") == 69
    told = json.loads(capsys.readouterr().out)
    assert (told["sound"], [fault["name"] for fault in told["faults"]]) == (False, ["vocab.txt"])
    assert command(store, "verify", "embedded") == 0
    assert "no hashes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (("info", "parakeet"), 69, "did you mean parakeet-tdt-0.6b-v"),
        (("pull", "no such thing"), 69, "is no model"),
        (("verify", NAME), 69, f"ears-edge models pull {NAME}"),
        (("remove", NAME), 69, "nothing to remove"),
        (("remove", "embedded"), 69, "part of the package"),
        (("remove", "/"), 69, "your own folder"),
        (("pull", NAME), 75, "offline"),
        (("pull",), 2, "NAME"),
    ],
)
def test_mistakes_cost_one_line(
    store: Store, capsys: Captured, argv: tuple[str, ...], status: int, said: str
) -> None:
    assert command(store, *argv) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


def test_pulling_what_is_here_anyway_is_no_mistake(store: Store, capsys: Captured) -> None:
    assert command(store, "pull", "embedded") == 0
    assert "on this machine already" in capsys.readouterr().out


def test_neither_the_daemon_nor_a_look_at_the_models_imports_the_hubs_client(tmp_path: Path) -> None:
    heavy = ("huggingface_hub", "httpx2", "hf_xet", "tqdm")
    code = (
        "import sys; import ears_edge.daemon; from ears_edge.cli import main; main(['models', 'list']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines()[-1] == "[]"
