"""Pulling by real processes: killed, two at once, out of room; then the commands, from pull to words."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ears_edge.errors import UnavailableError
from ears_edge.models import manifest
from ears_edge.models.folder import resolve
from tests.hub_emulator import PATIENCE_S
from tests.models_rig import CHUNK, ENCODER, FILES, NAME, REPO, Rig, reference, rigged

CLIP = Path(__file__).parents[1] / "data" / "stop.flac"
PULL = """
import resource, sys
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 65536
limit = int(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from ears_edge.models.hub import client
write = client._Growing.write
def told(self, data):
    written = write(self, data)
    self.flush()
    print(self.tell(), flush=True)
    return written
client._Growing.write = told
from ears_edge.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""`ears-edge`, writing in small pieces and saying so; the first argument limits the size of files."""


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with rigged(tmp_path, monkeypatch) as built:
        yield built


def environment(rig: Rig, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(rig.folder.parent),
        "EARS_EDGE_MODELS__DIR": str(rig.folder),
        "EARS_EDGE_MODELS__ENDPOINT": rig.hub.url(),
        **more,
    }


def start(rig: Rig, *argv: str, limit: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-c", PULL, str(limit), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(rig),
    )


def run(rig: Rig, *argv: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "ears_edge", *argv],
        capture_output=True,
        text=True,
        check=False,
        env=environment(rig, **more),
        timeout=PATIENCE_S,
    )


def read_to(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    while process.stdout.readline() != f"{line}\n":
        assert process.poll() is None


def test_a_pull_that_is_killed_leaves_nothing_that_looks_finished_and_is_resumed(rig: Rig) -> None:
    rig.hub.hold_after = 4 * CHUNK
    process = start(rig, "models", "pull", NAME)
    try:
        read_to(process, str(3 * CHUNK))
    finally:
        process.kill()
        process.communicate()
    rig.hub.let_go.set()
    assert rig.names() == []
    assert NAME not in json.loads(run(rig, "models", "list", "--json").stdout)["models"][0].get("folder", "")
    verified = run(rig, "models", "verify", NAME)
    assert (verified.returncode, verified.stdout) == (69, "")
    assert f"ears-edge models pull {NAME}" in verified.stderr
    partial = max(rig.store.incoming(reference()).iterdir(), key=lambda path: path.stat().st_size)
    size = partial.stat().st_size
    assert size >= 3 * CHUNK
    rig.hub.asked.clear()
    assert rig.pull().outcome == "fetched"
    assert rig.hub.ranges_asked() == [f"bytes={size}-"]
    assert (rig.folder / NAME / ENCODER).read_bytes() == FILES[ENCODER]


def test_of_two_pulls_at_once_one_is_told_so_and_the_other_succeeds(rig: Rig) -> None:
    rig.hub.hold_after = 4 * CHUNK
    process = start(rig, "models", "pull", "--no-test", NAME)
    try:
        assert rig.hub.held.wait(PATIENCE_S)
        with pytest.raises(UnavailableError, match=f"process {process.pid} is at it") as caught:
            rig.pull()
        assert caught.value.code == "model-locked"
        with pytest.raises(UnavailableError, match="is at it"):
            rig.store.remove(reference())
        assert rig.names() == []
        rig.hub.let_go.set()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.communicate()
    assert rig.pull().outcome == "kept"


def test_a_file_that_can_not_grow_is_told_and_what_is_there_is_kept(rig: Rig) -> None:
    """The system's limit for files stands for a full disk: both end in an error of `write`."""
    process = start(rig, "models", "pull", NAME, limit=5 * CHUNK + 100)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75
    assert err.startswith(f"ears-edge: {NAME}: no room left in {rig.folder} (File too large)")
    assert err.count("\n") == 1
    assert rig.names() == []
    kept = max(path.stat().st_size for path in rig.store.incoming(reference()).iterdir())
    assert 5 * CHUNK <= kept <= 5 * CHUNK + 100
    rig.hub.asked.clear()
    assert list(rig.pull().installed.faults()) == []
    assert rig.hub.ranges_asked() == [f"bytes={kept}-"]


def real_files() -> dict[str, bytes]:
    """The embedded model, as if it were the large one: it can be transcribed with."""
    return {path.name: path.read_bytes() for path in resolve("embedded").iterdir() if path.is_file()}


def test_from_pull_to_words_by_its_name(rig: Rig) -> None:
    rig.hub.repo(REPO, real_files())
    refused = run(rig, "transcribe", "--model", NAME, str(CLIP))
    assert (refused.returncode, refused.stdout) == (69, "")
    assert f"Fetch it: ears-edge models pull {NAME}" in refused.stderr

    pulled = run(rig, "models", "pull", NAME)
    assert (pulled.returncode, pulled.stderr) == (0, "")
    for told in (
        "NVIDIA",
        "CC-BY-4.0",
        "istupakov",
        "fetched (commit ",
        "hears what the test clip says",
        f'name = "{NAME}"',
    ):
        assert told in pulled.stdout

    by_name = run(rig, "transcribe", str(CLIP), EARS_EDGE_MODEL__NAME=NAME)
    assert by_name.returncode == 0, by_name.stderr
    assert by_name.stdout == run(rig, "transcribe", str(CLIP)).stdout
    assert by_name.stdout.strip()
    by_repo = run(rig, "transcribe", "--model", REPO, str(CLIP))
    assert by_repo.stdout == by_name.stdout

    row = json.loads(run(rig, "models", "list", "--json").stdout)["models"][0]
    assert (row["name"], row["state"], row["exact"], row["folder"]) == (
        NAME,
        "pulled",
        True,
        str(rig.folder / NAME),
    )
    info = json.loads(run(rig, "models", "info", NAME, "--json").stdout)
    assert (info["installed"], info["faults"], len(info["languages"])) == (True, [], 25)
    verified = run(rig, "models", "verify", NAME, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["sound"]) == (0, True)

    encoder = rig.folder / NAME / ENCODER
    encoder.write_bytes(encoder.read_bytes()[::-1])
    verified = run(rig, "models", "verify", NAME)
    assert verified.returncode == 69
    assert f"{ENCODER}: SHA-256 is" in verified.stdout
    assert f"Mend it: ears-edge models pull {NAME}" in verified.stdout
    assert "mended" in run(rig, "models", "pull", NAME).stdout
    encoder.write_bytes(b"")
    cut = run(rig, "transcribe", "--model", NAME, str(CLIP))
    assert cut.returncode == 69
    assert f"Mend it: ears-edge models pull {NAME}" in cut.stderr

    removed = run(rig, "models", "remove", NAME, EARS_EDGE_MODEL__NAME=NAME)
    assert removed.returncode == 0
    assert "the daemon fetches it at its next start" in removed.stdout
    assert run(rig, "models", "remove", NAME).returncode == 69
    assert [path.name for path in rig.folder.iterdir() if not path.name.startswith(".")] == []


def test_a_model_that_hears_nonsense_is_told_as_such_once_it_is_here(rig: Rig) -> None:
    files = real_files()
    pieces = files["vocab.txt"].decode().splitlines()
    shuffled = [piece.rpartition(" ")[0] for piece in pieces]
    shuffled[1:-1] = shuffled[-2:0:-1]
    files["vocab.txt"] = "".join(f"{piece} {number}\n" for number, piece in enumerate(shuffled)).encode()
    rig.hub.repo(REPO, files)
    pulled = run(rig, "models", "pull", NAME)
    assert pulled.returncode == 69
    assert "fetched (commit " in pulled.stdout
    assert "it can't be trusted: it heard '" in pulled.stderr


def test_the_hub_clients_own_variables_count(rig: Rig, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE, as its users know them."""
    rig.hub.repos[REPO].gated = True
    given = {"EARS_EDGE_MODELS__ENDPOINT": "", "HF_ENDPOINT": rig.hub.url()}
    denied = run(rig, "models", "pull", NAME, **given)
    assert denied.returncode == 69
    assert "HF_TOKEN" in denied.stderr
    offline = run(rig, "models", "pull", NAME, **given, HF_HUB_OFFLINE="1")
    assert offline.returncode == 75
    assert "HF_HUB_OFFLINE" in offline.stderr
    wrong = run(rig, "models", "pull", NAME, **given, HF_TOKEN="hf_wrong")  # noqa: S106  # that is the point
    assert wrong.returncode == 69
    assert "hf_wrong" not in wrong.stderr
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(rig.hub.token, encoding="utf-8")
    pulled = run(rig, "models", "pull", "--no-test", NAME, **given, HF_HOME=str(home))
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert manifest.read(rig.folder / NAME).endpoint == rig.hub.url()
    asked = {one.path.partition(REPO)[0] for one in rig.hub.asked if one.origin == "hub"}
    assert asked == {"/api/models/", "/"}
