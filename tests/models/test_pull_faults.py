"""Pulling when something is wrong: a code, what happened and what to do; and never half a model."""

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from ears_edge.errors import (
    ConfigError,
    EarsEdgeError,
    ModelAccessError,
    ModelCorruptError,
    ModelError,
    ModelMismatchError,
    ModelNotFoundError,
    UnavailableError,
)
from ears_edge.models import catalog
from ears_edge.models.hub.client import Hub
from ears_edge.models.pull import pull
from tests.hub_emulator import Drop, Refusal, git_blob, sha256
from tests.models_rig import CHUNK, DECODER, ENCODER, FILES, NAME, PLENTY, REPO, Rig, Seen, reference, rigged

MB = 1_000_000


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(tmp_path, monkeypatch) as built:
        yield built


def refused(rig: Rig, name: str = NAME, *, free: int = PLENTY) -> EarsEdgeError:
    """The error of a pull that has to fail, and leave nothing that looks like a model."""
    with pytest.raises(EarsEdgeError) as caught:
        rig.pull(name, free=free)
    assert rig.names() == []
    assert rig.store.find(reference(name)) is None
    text = str(caught.value)
    assert "\n" not in text
    assert "hf_" not in text.replace("hf_…", "")
    return caught.value


def gated(rig: Rig) -> None:
    rig.hub.repos[REPO].gated = True


def gated_and_a_wrong_token(rig: Rig) -> None:
    gated(rig)
    rig.token = "hf_wrong"  # noqa: S105  # that is the point


def without(*names: str) -> Callable[[Rig], None]:
    def take(rig: Rig) -> None:
        rig.hub.repo(REPO, {name: content for name, content in FILES.items() if name not in names})

    return take


def with_file(name: str, content: bytes) -> Callable[[Rig], None]:
    def put(rig: Rig) -> None:
        rig.hub.repo(REPO, {**FILES, name: content})

    return put


def altered(name: str, content: bytes) -> Callable[[Rig], None]:
    def alter(rig: Rig) -> None:
        rig.hub.altered[sha256(FILES[name])] = content

    return alter


def api(*refusals: Refusal) -> Callable[[Rig], None]:
    def refuse(rig: Rig) -> None:
        rig.hub.api_faults += refusals

    return refuse


def file(*refusals: Refusal) -> Callable[[Rig], None]:
    def refuse(rig: Rig) -> None:
        rig.hub.file_faults += refusals

    return refuse


def always_dropped(rig: Rig) -> None:
    rig.hub.cdn_faults += [Drop(0)] * 20


def elsewhere(url: str) -> Callable[[Rig], None]:
    def point(rig: Rig) -> None:
        rig.endpoint = url

    return point


CASES = [
    pytest.param(
        gated, ModelAccessError, "hub-gated", ["401", f"https://huggingface.co/{REPO}", "TOKEN"], id="gated"
    ),
    pytest.param(
        gated_and_a_wrong_token, ModelAccessError, "hub-gated", ["403", "TOKEN_FILE"], id="gated, wrong token"
    ),
    pytest.param(
        api(Refusal(401)), ModelAccessError, "hub-denied", ["401", "token"], id="metadata for no one"
    ),
    pytest.param(
        file(Refusal(403)), ModelAccessError, "hub-denied", ["403", "vocab.txt"], id="a file for no one"
    ),
    pytest.param(
        lambda rig: rig.hub.repos.clear(), ModelNotFoundError, "hub-no-repo", [REPO, "private"], id="no repo"
    ),
    pytest.param(
        file(Refusal(404, {"X-Error-Code": "EntryNotFound"})),
        ModelNotFoundError,
        "hub-no-file",
        ["vocab.txt"],
        id="a file is gone",
    ),
    pytest.param(
        api(Refusal(404)), ModelNotFoundError, "hub-no-file", [REPO], id="a mirror that knows nothing"
    ),
    pytest.param(
        api(Refusal(429, {"Retry-After": "77"})),
        UnavailableError,
        "hub-busy",
        ["429", "in 77 seconds"],
        id="too many requests",
    ),
    pytest.param(
        file(*[Refusal(429, {"Retry-After": "0"})] * 20),
        UnavailableError,
        "hub-busy",
        ["429", "in 0 seconds", "kept"],
        id="too many requests for good",
    ),
    pytest.param(api(Refusal(503)), UnavailableError, "hub-error", ["503", "later"], id="hub down"),
    pytest.param(
        file(Refusal(500)), UnavailableError, "hub-error", ["500", "vocab.txt"], id="hub down later"
    ),
    pytest.param(
        api(Refusal(200, body=b"<html>Please log in to the hotel's network")),
        UnavailableError,
        "hub-answer",
        ["models.endpoint"],
        id="no hub but a web page",
    ),
    pytest.param(
        api(Refusal(200, body=b'["not", "a", "hub"]')),
        UnavailableError,
        "hub-answer",
        ["models.endpoint"],
        id="no hub but JSON",
    ),
    pytest.param(
        api(Refusal(200, body=b'{"id": "a/b", "sha": "../../etc"}')),
        UnavailableError,
        "hub-answer",
        ["no commit"],
        id="a commit that is none",
    ),
    pytest.param(
        api(*[Refusal(302, {"Location": "/api/models/a/b"})] * 30),
        UnavailableError,
        "hub-answer",
        ["redirect"],
        id="round and round",
    ),
    pytest.param(
        always_dropped, UnavailableError, "hub-unreachable", ["network", "kept"], id="connection dropped"
    ),
    pytest.param(
        elsewhere("http://nowhere.invalid"),
        UnavailableError,
        "hub-unreachable",
        ["nowhere.invalid"],
        id="no such host",
    ),
    pytest.param(
        elsewhere("http://[::1"), ConfigError, "config", ["models.endpoint"], id="an address that is none"
    ),
    pytest.param(
        without("vocab.txt", ENCODER, "encoder-model.onnx"),
        ModelMismatchError,
        "model-layout",
        [ENCODER, "vocab.txt", REPO],
        id="files missing",
    ),
    pytest.param(
        with_file("config.json", b'{"model_type": "whisper"}'),
        ModelMismatchError,
        "model-layout",
        ["whisper", REPO],
        id="another kind of model",
    ),
    pytest.param(
        with_file("vocab.txt", b"<html>"),
        ModelMismatchError,
        "model-layout",
        ["vocab.txt"],
        id="no vocabulary",
    ),
    pytest.param(
        with_file("vocab.txt", bytes(17 * 1024 * 1024)),
        ModelMismatchError,
        "model-layout",
        ["vocab.txt", "17825792"],
        id="a huge vocabulary",
    ),
    pytest.param(
        altered(ENCODER, FILES[ENCODER][::-1]),
        ModelCorruptError,
        "model-wrong-hash",
        [ENCODER, sha256(FILES[ENCODER]), sha256(FILES[ENCODER][::-1])],
        id="wrong hash",
    ),
    pytest.param(
        altered("vocab.txt", FILES["vocab.txt"][::-1]),
        ModelCorruptError,
        "model-wrong-hash",
        ["vocab.txt", git_blob(FILES["vocab.txt"])],
        id="wrong hash of a small file",
    ),
    pytest.param(
        altered(ENCODER, FILES[ENCODER] + bytes(CHUNK)),
        ModelCorruptError,
        "model-wrong-size",
        [ENCODER, str(len(FILES[ENCODER]))],
        id="more than promised",
    ),
    pytest.param(
        altered(ENCODER, FILES[ENCODER][:-1]),
        UnavailableError,
        "hub-cut-off",
        [ENCODER],
        id="less than promised",
    ),
]


@pytest.mark.parametrize(("harm", "error", "code", "said"), CASES)
def test_a_fault_has_its_code_and_says_what_to_do(
    rig: Rig, harm: Callable[[Rig], None], error: type[EarsEdgeError], code: str, said: list[str]
) -> None:
    harm(rig)
    caught = refused(rig)
    assert type(caught) is error
    assert caught.code == code
    assert [words for words in said if words not in str(caught)] == []


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (always_dropped, "hub-unreachable"),
        (altered(ENCODER, FILES[ENCODER][::-1]), "model-wrong-hash"),
        (altered(ENCODER, FILES[ENCODER][:-1]), "hub-cut-off"),
        (file(*[Refusal(429)] * 6), "hub-busy"),
    ],
)
def test_after_a_fault_the_next_pull_succeeds(rig: Rig, harm: Callable[[Rig], None], code: str) -> None:
    harm(rig)
    assert refused(rig).code == code
    rig.hub.cdn_faults.clear()
    rig.hub.altered.clear()
    assert list(rig.pull().installed.faults()) == []
    assert (rig.folder / NAME / ENCODER).read_bytes() == FILES[ENCODER]


def test_a_revision_that_is_not_there_is_named(rig: Rig) -> None:
    caught = refused(rig, f"{REPO}@v9")
    assert (type(caught), caught.code) == (ModelNotFoundError, "hub-no-revision")
    assert "v9" in str(caught)


def test_no_network_is_told_with_where_it_led(rig: Rig) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        rig.endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        caught = refused(rig)
    assert (type(caught), caught.code) == (UnavailableError, "hub-unreachable")
    assert rig.endpoint in str(caught)


def test_the_hub_clients_own_offline_mode_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(rig).code == "hub-offline"
    assert rig.hub.asked == []


def test_too_many_requests_are_waited_for_as_long_as_the_hub_says(rig: Rig) -> None:
    rig.hub.file_faults += [Refusal(429, {"Retry-After": "3"})]
    assert rig.pull().outcome == "fetched"
    assert any("Waiting 4.0s" in notice for notice in rig.notices)


def test_room_is_looked_for_before_anything_is_fetched(rig: Rig) -> None:
    rig.hub.repo(REPO, {**FILES, ENCODER: bytes(3 * MB)})
    caught = refused(rig, free=5 * MB)
    assert (type(caught), caught.code) == (UnavailableError, "disk-full")
    assert all(words in str(caught) for words in ("3 MB", "has 5 MB", "models.dir", str(rig.folder)))
    assert [one.path for one in rig.hub.asked] == [f"/api/models/{REPO}/revision/main"]
    assert rig.pull(free=108 * MB + 1).outcome == "fetched"


def test_what_is_there_needs_no_room(rig: Rig) -> None:
    rig.pull()
    assert rig.pull(free=0).outcome == "kept"
    (rig.folder / NAME / "model.json").unlink()
    assert rig.pull(free=0).outcome == "mended"


def test_a_folder_that_can_not_be_written_to_is_named(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    rig.folder = tmp_path / "file"
    caught = refused(rig)
    assert (type(caught), caught.code) == (UnavailableError, "models-dir")
    assert str(tmp_path / "file") in str(caught)


def test_a_folder_of_the_users_own_is_not_replaced(rig: Rig) -> None:
    (rig.folder / NAME).mkdir(parents=True)
    (rig.folder / NAME / "mine.txt").write_text("mine", encoding="utf-8")
    caught = refused(rig)
    assert caught.code == "models-dir"
    with pytest.raises(ModelNotFoundError, match="nothing to remove"):
        rig.store.remove(reference())
    assert (rig.folder / NAME / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_the_first_pull_is_compared_with_ever_after(rig: Rig) -> None:
    """Somebody changes the files behind a commit: that is told, not taken."""
    folder = rig.pull().installed.folder
    (folder / DECODER).unlink()
    repo = rig.hub.repos[REPO]
    repo.commits[repo.refs["main"]][DECODER] = b"another one"
    with pytest.raises(ModelCorruptError, match="the first pull") as caught:
        rig.pull()
    assert caught.value.code == "model-wrong-hash"
    assert all(words in str(caught.value) for words in (DECODER, sha256(b"another one"), "remove"))
    assert (folder / ENCODER).read_bytes() == FILES[ENCODER]


def pinned(rig: Rig, **pins: str) -> EarsEdgeError | None:
    entry = replace(
        catalog.CATALOG[NAME], sha256={name.replace("__", "."): pin for name, pin in pins.items()}
    )
    with Hub(rig.config, cache=rig.cache) as hub:
        try:
            pull(
                rig.store,
                catalog.Reference(REPO, "", entry),
                hub,
                Seen(),
                free_space=lambda _folder: PLENTY,
            )
        except ModelError as exc:
            return exc
    return None


def test_pins_of_the_catalog_are_insisted_on(rig: Rig) -> None:
    wrong = hashlib.sha256(b"another").hexdigest()
    caught = pinned(rig, vocab__txt=wrong)
    assert caught is not None
    assert caught.code == "model-wrong-hash"
    assert f"the catalog says {wrong}" in str(caught)
    assert rig.names() == []
    assert pinned(rig, vocab__txt=sha256(FILES["vocab.txt"])) is None


def test_a_pinned_commit_is_what_is_fetched(rig: Rig) -> None:
    repo = rig.hub.repos[REPO]
    first = repo.refs["main"]
    repo.commit({**FILES, DECODER: b"newer"})
    entry = replace(catalog.CATALOG[NAME], commit=first)
    with Hub(rig.config, cache=rig.cache) as hub:
        done = pull(rig.store, catalog.Reference(REPO, "", entry), hub, Seen(), free_space=lambda _: PLENTY)
    assert done.installed.manifest.commit == first
    assert (done.installed.folder / DECODER).read_bytes() == FILES[DECODER]


def test_a_manifest_that_can_not_be_read_costs_only_what_it_said(rig: Rig) -> None:
    folder = rig.pull().installed.folder
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    rig.hub.asked.clear()
    assert rig.pull().outcome == "fetched"
    assert rig.hub.ranges_asked() == []
    assert rig.names() == [NAME]
