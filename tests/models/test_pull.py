"""Pulling with the hub's real client: what is fetched, kept, mended, updated, resumed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.utils.tqdm import silent_tqdm

from ears_edge.errors import ModelMismatchError, UnavailableError
from ears_edge.models import manifest
from ears_edge.models.folder import ModelFolder, resolve
from tests.hub_emulator import Drop, git_blob, sha256
from tests.models_rig import CHUNK, DECODER, ENCODER, FILES, NAME, NEEDED, REPO, Rig, Seen, reference, rigged

SIZE = sum(len(FILES[name]) for name in NEEDED)


class StoppedError(Exception):
    """Somebody had enough."""


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(tmp_path, monkeypatch) as built:
        yield built


def stop_at(limit: int) -> Seen:
    def when(done: int) -> None:
        if done >= limit:
            raise StoppedError

    return Seen(when=when)


def test_only_what_the_engine_needs_is_fetched_and_all_of_it_is_recorded(rig: Rig) -> None:
    watch = Seen()
    done = rig.pull(watch=watch)
    assert done.outcome == "fetched"
    folder = done.installed.folder
    assert folder == rig.folder / NAME
    assert {path.name for path in folder.iterdir()} == NEEDED | {
        "model.json",
        "ATTRIBUTION.txt",
        "manifest.json",
    }
    assert all((folder / name).read_bytes() == FILES[name] for name in NEEDED)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    record = manifest.read(folder)
    assert {file.name: file.sha256 for file in record.files if not file.ours} == {
        name: sha256(FILES[name]) for name in NEEDED
    }
    assert (record.repo, record.revision) == (REPO, "main")
    assert record.commit == rig.hub.repos[REPO].refs["main"]
    assert list(done.installed.faults()) == []
    assert watch.totals == [SIZE]
    assert watch.done == sorted(watch.done)
    assert watch.done[-1] == SIZE
    assert rig.notices == []


def test_the_model_of_a_pull_opens_with_its_card_and_attribution(rig: Rig) -> None:
    rig.pull()
    folder = resolve(NAME, rig.config)
    info = ModelFolder.open(folder).info
    assert (info.name, info.licence, info.attribution.name) == (NAME, "CC-BY-4.0", "NVIDIA")
    assert len(info.languages) == 25
    assert info.version == rig.hub.repos[REPO].refs["main"][:12]
    text = (folder / "ATTRIBUTION.txt").read_text(encoding="utf-8")
    for told in (
        "NVIDIA",
        "istupakov",
        "CC-BY-4.0",
        "https://creativecommons.org/licenses/by/4.0/",
        "8 bits",
    ):
        assert told in text


def test_any_repository_in_the_layout_can_be_pulled_at_any_revision(rig: Rig) -> None:
    repo = rig.hub.repo("somebody/parakeet-ultra", FILES)
    repo.card = {"license": "cc-by-4.0", "language": ["en", "de", 7, "not a code"]}
    older = repo.commit({**FILES, DECODER: b"older"}, "refs/pr/1")
    repo.refs["main"] = next(name for name in repo.commits if name != older)
    rig.pull("somebody/parakeet-ultra")
    done = rig.pull("somebody/parakeet-ultra@refs/pr/1")
    assert done.installed.manifest.commit == older
    assert (done.installed.folder / DECODER).read_bytes() == b"older"
    assert rig.names() == ["somebody--parakeet-ultra", "somebody--parakeet-ultra@refs%2Fpr%2F1"]
    info = ModelFolder.open(resolve("somebody/parakeet-ultra", rig.config)).info
    assert (info.name, info.languages, info.licence) == ("somebody/parakeet-ultra", ("en", "de"), "cc-by-4.0")
    assert info.attribution.name == "somebody"


def test_float_graphs_come_with_their_external_data_where_there_is_no_int8(rig: Rig) -> None:
    files = {name: content for name, content in FILES.items() if ".int8." not in name}
    files |= {"encoder-model.onnx.data": b"weights" * 1000, "LICENSE": b"do as you like"}
    rig.hub.repo("somebody/float", files)
    folder = rig.pull("somebody/float").installed.folder
    kept = {"encoder-model.onnx", "encoder-model.onnx.data", "decoder_joint-model.onnx", "LICENSE"}
    assert kept < {path.name for path in folder.iterdir()}


FLOAT = "encoder-model.onnx"


def test_the_float_encoder_comes_beside_that_in_int8_when_asked_for_and_stays(rig: Rig) -> None:
    folder = rig.pull().installed.folder
    before = (folder / ENCODER).stat().st_ino
    assert ModelFolder.open(folder).float_encoder is None
    done = rig.pull(floats=True)
    assert done.outcome == "fetched"
    assert (folder / FLOAT).read_bytes() == FILES[FLOAT]
    assert (folder / ENCODER).stat().st_ino == before
    assert not (folder / "decoder_joint-model.onnx").exists()
    both = ModelFolder.open(folder)
    assert (both.encoder.name, both.float_encoder) == (ENCODER, folder / FLOAT)
    assert rig.pull(floats=True).outcome == "kept"
    (folder / FLOAT).unlink()
    assert rig.pull().outcome == "mended"
    assert (folder / FLOAT).is_file()
    rig.hub.repos[REPO].commit({**FILES, FLOAT: b"newer"})
    assert rig.pull(update=True).outcome == "updated"
    assert (folder / FLOAT).read_bytes() == b"newer"


def test_a_repository_without_a_float_encoder_is_told_but_an_update_goes_on_without(rig: Rig) -> None:
    rig.pull(floats=True)
    rig.hub.repos[REPO].commit({name: content for name, content in FILES.items() if name != FLOAT})
    folder = rig.pull(update=True).installed.folder
    assert not (folder / FLOAT).exists()
    with pytest.raises(ModelMismatchError, match=r"encoder-model\.onnx"):
        rig.pull(floats=True)


def test_pulling_again_checks_and_asks_nobody(rig: Rig) -> None:
    rig.pull()
    rig.hub.asked.clear()
    watch = Seen()
    assert rig.pull(watch=watch).outcome == "kept"
    assert rig.hub.asked == []
    assert watch.checked[-1][0] == watch.checked[-1][1] > SIZE


@pytest.mark.parametrize("harm", ["cut", "altered", "missing"])
def test_pulling_again_mends_what_is_damaged_and_fetches_nothing_else(rig: Rig, harm: str) -> None:
    folder = rig.pull().installed.folder
    before = (folder / ENCODER).stat().st_ino
    match harm:
        case "cut":
            (folder / DECODER).write_bytes(FILES[DECODER][:-1])
        case "altered":
            (folder / DECODER).write_bytes(FILES[DECODER][::-1])
        case "missing":
            (folder / DECODER).unlink()
    rig.hub.repos[REPO].commit({**FILES, ENCODER: b"a newer one"})
    rig.hub.asked.clear()
    done = rig.pull()
    assert done.outcome == "mended"
    assert list(done.installed.faults()) == []
    assert (folder / DECODER).read_bytes() == FILES[DECODER]
    assert (folder / ENCODER).stat().st_ino == before
    assert len(rig.hub.ranges_asked()) == 1


def test_only_an_update_takes_a_newer_commit(rig: Rig) -> None:
    first = rig.pull().installed.manifest.commit
    newer = rig.hub.repos[REPO].commit({**FILES, DECODER: b"a newer one"})
    assert rig.pull().outcome == "kept"
    assert manifest.read(rig.folder / NAME).commit == first
    rig.hub.asked.clear()
    done = rig.pull(update=True)
    assert (done.outcome, done.installed.manifest.commit) == ("updated", newer)
    assert (done.installed.folder / DECODER).read_bytes() == b"a newer one"
    assert len(rig.hub.ranges_asked()) == 1
    assert rig.pull(update=True).outcome == "kept"
    assert list((rig.folder / ".leaving").iterdir()) == []


def test_a_drop_in_mid_file_is_resumed_at_once_from_where_it_was(rig: Rig) -> None:
    rig.hub.cdn_faults += [Drop(0), Drop(0), Drop(3 * CHUNK + 5)]
    rig.pull()
    # the decoder: two empty answers, then all of it but for the drop, which its size makes harmless
    assert rig.hub.ranges_asked() == ["", "", "", ""]
    rig.store.remove(reference())
    rig.hub.asked.clear()
    rig.hub.repo("somebody/one", {**FILES, DECODER: b""})
    rig.hub.cdn_faults += [Drop(3 * CHUNK + 5), Drop(2 * CHUNK)]
    folder = rig.pull("somebody/one").installed.folder
    assert rig.hub.ranges_asked() == ["", f"bytes={3 * CHUNK}-", f"bytes={5 * CHUNK}-"]
    assert (folder / ENCODER).read_bytes() == FILES[ENCODER]
    assert any("resume" in notice for notice in rig.notices)


def test_what_a_stopped_pull_has_is_kept_out_of_sight_and_the_next_goes_on_from_there(rig: Rig) -> None:
    before = SIZE - len(FILES[ENCODER])
    with pytest.raises(StoppedError):
        rig.pull(watch=stop_at(before + 5 * CHUNK))
    assert rig.names() == []
    assert rig.store.find(reference()) is None
    assert rig.store.half_fetched(reference()) == before + 5 * CHUNK
    rig.hub.asked.clear()
    watch = Seen()
    rig.pull(watch=watch)
    assert rig.hub.ranges_asked() == [f"bytes={5 * CHUNK}-"]
    assert (rig.folder / NAME / ENCODER).read_bytes() == FILES[ENCODER]
    assert watch.done[-1] == SIZE
    assert list((rig.folder / ".incoming").iterdir()) == []


def test_a_hub_without_ranges_is_asked_for_the_whole_file_again(rig: Rig) -> None:
    with pytest.raises(StoppedError):
        rig.pull(watch=stop_at(SIZE - CHUNK))
    rig.hub.ranges = False
    assert list(rig.pull().installed.faults()) == []


def test_what_was_half_fetched_of_another_commit_is_not_mixed_in(rig: Rig) -> None:
    with pytest.raises(StoppedError):
        rig.pull(watch=stop_at(SIZE - CHUNK))
    rig.hub.repos[REPO].commit({**FILES, ENCODER: FILES[ENCODER][::-1]})
    rig.hub.asked.clear()
    folder = rig.pull().installed.folder
    assert (folder / ENCODER).read_bytes() == FILES[ENCODER][::-1]
    assert rig.hub.ranges_asked() == [""]


def fill_cache(rig: Rig) -> None:
    """As another program does that loads the model with the hub's client."""
    url = rig.hub.url()
    for name in NEEDED:
        path = hf_hub_download(
            REPO, name, endpoint=url, cache_dir=rig.cache, token=False, tqdm_class=silent_tqdm
        )
        assert Path(path).is_symlink()


def test_what_lies_in_the_hub_clients_cache_is_copied_not_fetched_nor_linked(rig: Rig) -> None:
    fill_cache(rig)
    rig.hub.asked.clear()
    folder = rig.pull().installed.folder
    assert [one.path for one in rig.hub.asked] == [f"/api/models/{REPO}/revision/main"]
    shutil.rmtree(rig.cache)
    assert all((folder / name).read_bytes() == FILES[name] for name in NEEDED)


def test_a_damaged_file_of_the_cache_is_not_taken(rig: Rig) -> None:
    fill_cache(rig)
    blob = next(rig.cache.rglob(sha256(FILES[ENCODER])))
    blob.write_bytes(FILES[ENCODER][::-1])
    assert list(rig.pull().installed.faults()) == []
    assert (rig.folder / NAME / ENCODER).read_bytes() == FILES[ENCODER]


def test_offline_the_cache_is_enough_and_nobody_is_asked(rig: Rig) -> None:
    fill_cache(rig)
    rig.hub.asked.clear()
    rig.offline = True
    done = rig.pull()
    assert done.installed.manifest.commit == rig.hub.repos[REPO].refs["main"]
    assert rig.hub.asked == []
    assert rig.pull().outcome == "kept"


def test_offline_a_damaged_cache_is_not_made_good_behind_the_users_back(rig: Rig) -> None:
    fill_cache(rig)
    next(rig.cache.rglob(sha256(FILES[ENCODER]))).write_bytes(FILES[ENCODER][::-1])
    rig.hub.asked.clear()
    rig.offline = True
    with pytest.raises(UnavailableError, match="offline"):
        rig.pull()
    assert rig.hub.asked == []


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_offline_a_cache_with_a_hole_is_not_enough(rig: Rig, missing: str) -> None:
    fill_cache(rig)
    next(rig.cache.rglob(missing)).unlink()
    rig.hub.asked.clear()
    rig.offline = True
    with pytest.raises(UnavailableError, match="offline") as caught:
        rig.pull()
    assert caught.value.code == "hub-offline"
    assert rig.hub.asked == []
    assert rig.names() == []


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(rig: Rig) -> None:
    rig.hub.repos[REPO].gated = True
    rig.token = rig.hub.token
    rig.pull()
    given = {(one.origin, one.authorization) for one in rig.hub.asked}
    assert given == {("hub", "Bearer hf_right"), ("cdn", "")}
    assert "hf_right" not in "".join(path.read_text() for path in rig.folder.rglob("*.json"))


def test_a_token_of_the_environment_is_not_given_to_a_mirror(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    rig.pull()
    assert {one.authorization for one in rig.hub.asked} == {""}


def test_the_emulated_hub_says_what_the_real_one_says(rig: Rig) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415  # of this test only

    url = hf_hub_url(REPO, ENCODER, endpoint=rig.hub.url())
    told = get_hf_file_metadata(url, token=False)
    assert (told.etag, told.size) == (sha256(FILES[ENCODER]), len(FILES[ENCODER]))
    assert told.commit_hash == rig.hub.repos[REPO].refs["main"]
    assert told.location.startswith(rig.hub.url("cdn"))
    small = get_hf_file_metadata(hf_hub_url(REPO, "vocab.txt", endpoint=rig.hub.url()), token=False)
    assert small.etag == git_blob(FILES["vocab.txt"])
    from huggingface_hub import close_session  # noqa: PLC0415  # as above

    close_session()


def test_the_manifest_is_plain_json_for_others_to_read(rig: Rig) -> None:
    folder = rig.pull().installed.folder
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert told["format"] == 1
    assert told["files"][0].keys() == {"name", "size", "sha256", "ours"}
