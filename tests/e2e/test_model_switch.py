"""The real daemon while its model is on its way: a hub on loopback, real clients of both protocols."""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from wyoming.asr import Transcribe
from wyoming.event import Event

from ears_edge.audio.files import open_audio
from ears_edge.models.folder import EMBEDDED, resolve
from ears_edge.wer import normalized
from tests.child import PATIENCE_S, Child
from tests.clips import OWN
from tests.models_rig import NAME, REPO, Rig, rigged
from tests.servers.wyoming_fakes import START, STOP, Client, audio

CLIP = OWN / "timer_five_minutes.flac"
WORDS = normalized("Set a timer for five minutes.")

with open_audio(str(CLIP)) as source:
    SPEECH = b"".join(source.blocks(1.0))


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A hub whose repository of the large model holds the embedded one: it hears the same."""
    with rigged(tmp_path, monkeypatch) as built:
        built.hub.repo(REPO, {path.name: path.read_bytes() for path in resolve(EMBEDDED).iterdir()})
        yield built


@pytest.fixture
def env(rig: Rig) -> Iterator[Mapping[str, str]]:
    with tempfile.TemporaryDirectory(prefix="ee") as runtime:  # a Unix socket's name has to be short
        yield {
            "XDG_RUNTIME_DIR": runtime,
            "EARS_EDGE_MODELS__DIR": str(rig.folder),
            "EARS_EDGE_MODELS__ENDPOINT": rig.hub.url(),
        }


async def info(client: Client) -> Event:
    await client.send(b'{"type": "describe"}\n')
    return (await client.until("info"))[-1]


def words(events: Sequence[Event]) -> list[str]:
    return normalized(next((event.data or {})["text"] for event in events if event.type == "transcript"))


async def heard(client: Client) -> list[str]:
    await client.send(START, audio(SPEECH, 3_200), STOP)
    return words(await client.until("transcript-stop"))


def test_the_appliance_answers_while_its_model_is_fetched_and_nobody_loses_a_word(
    tmp_path: Path, rig: Rig, env: Mapping[str, str]
) -> None:
    rig.hub.hold_after = 2_000_000
    with Child(tmp_path, "--model", NAME, env=env) as child:
        uri = child.ready()
        assert rig.hub.held.wait(PATIENCE_S)

        async def meanwhile() -> None:
            async with await Client.to(uri["tcp"]) as client, await Client.to(uri["tcp"]) as speaking:
                told = await info(client)
                data = told.data or {}
                [model] = data["asr"][0]["models"]
                assert model["name"] == NAME
                assert {"en", "de", "uk"} <= set(model["languages"])
                assert model["installed"]
                assert "is being fetched" in model["description"]
                assert data["model_status"]["serving"] == "mini-en"
                assert data["model_status"]["phase"] == "fetching"

                async with connect(uri["ws"]) as window:
                    await window.send('{"type": "getstatus"}')
                    await window.recv()
                    status = json.loads(await window.recv())
                    assert status["model"] == "mini-en"
                    assert status["loading"]["phase"] == "fetching"

                assert await heard(client) == WORDS
                await client.send(Transcribe(language="de"), START, audio(SPEECH, 3_200), STOP)
                refused = (await client.until("error"))[-1]
                assert (refused.data or {})["code"] == "loading"

                healthy = await asyncio.to_thread(
                    child.command, "health", "--set", f"wyoming.uri={uri['tcp']}"
                )
                assert healthy.returncode == 0, healthy.stderr
                assert "is being fetched" in healthy.stdout

                # One speaker has begun when the model is swapped, and ends long after that.
                half = len(SPEECH) // 2
                await speaking.send(START, audio(SPEECH[:half], 3_200))
                rig.hub.let_go.set()
                await asyncio.to_thread(child.until_told, f"{NAME} serves")
                data = (await info(client)).data or {}
                assert data["model_status"]["serving"] == NAME
                assert data["model_status"]["self_test"] == "passed"
                await speaking.send(audio(SPEECH[half:], 3_200), STOP)
                assert words(await speaking.until("transcript-stop")) == WORDS
                await client.send(Transcribe(language="de"))
                assert await heard(client) == WORDS

        asyncio.run(meanwhile())
        assert list((tmp_path / ".cache" / "ears-edge" / "optimized").rglob("encoder.onnx"))
        child.process.send_signal(signal.SIGTERM)
        status, _, err = child.ended()
    assert status == 0, err
    assert "CC-BY-4.0" in err
    assert "Traceback" not in err


def test_the_embedded_model_is_optimized_once_while_it_serves(tmp_path: Path) -> None:
    with Child(tmp_path) as child:
        uri = child.ready()
        assert child.process.stderr is not None
        assert any(
            "mini-en is optimized for this machine, and serves so" in line for line in child.process.stderr
        )
        assert list((tmp_path / ".cache" / "ears-edge" / "optimized").rglob("encoder.onnx"))

        async def speaks() -> None:
            async with await Client.to(uri["tcp"]) as client:
                assert await heard(client) == WORDS

        asyncio.run(speaks())
        child.process.send_signal(signal.SIGTERM)
        status, _, err = child.ended()
    assert status == 0, err
    with Child(tmp_path) as child:
        child.ready()
        assert child.process.stderr is not None
        logged = [next(line for line in child.process.stderr if "mini-en serves" in line)]
        child.process.send_signal(signal.SIGTERM)
        logged.extend(child.ended()[2].splitlines())
    assert not [line for line in logged if "optimized" in line]


def test_a_daemon_ends_at_once_while_its_model_is_fetched_and_the_next_one_goes_on(
    tmp_path: Path, rig: Rig, env: Mapping[str, str]
) -> None:
    rig.hub.hold_after = 2_000_000
    with Child(tmp_path, "--model", NAME, env=env) as child:
        child.ready()
        assert rig.hub.held.wait(PATIENCE_S)
        child.process.send_signal(signal.SIGTERM)
        status, _, err = child.ended()
    assert status == 0, err
    assert "Traceback" not in err
    assert not (rig.folder / NAME).exists()
    rig.hub.hold_after = None
    rig.hub.let_go.set()
    with Child(tmp_path, "--model", NAME, env=env) as child:
        child.ready()
        pulled = child.command("models", "use", NAME)  # waits for what goes on already
        assert pulled.returncode == 0, pulled.stderr
        child.process.send_signal(signal.SIGTERM)
        assert child.ended()[0] == 0


def test_models_are_switched_by_command_and_by_signal_and_a_bad_one_changes_nothing(
    tmp_path: Path, env: Mapping[str, str]
) -> None:
    settings = tmp_path / "ears-edge.toml"
    settings.write_text("[model]\nname = 'embedded'\n", encoding="utf-8")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in resolve(EMBEDDED).iterdir():
        (broken / path.name).write_bytes(path.read_bytes()[:10_000])
    with Child(tmp_path, "--config", str(settings), env=env) as child:
        uri = child.ready()
        used = child.command("models", "use", NAME)
        assert used.returncode == 0, used.stderr
        assert used.stdout.splitlines()[-2] == f"{NAME} serves"
        assert f'To keep it: name = "{NAME}"' in used.stdout

        refused = child.command("models", "use", "nowhere")
        assert (refused.returncode, refused.stdout) == (69, "")
        assert "neither a folder nor a model's name" in refused.stderr
        failed = child.command("models", "use", str(broken), "--json")
        assert failed.returncode == 69
        last = json.loads(failed.stdout.splitlines()[-1])
        assert (last["phase"], last["serving"], last["code"]) == ("failed", NAME, "model-corrupt")
        unwell = child.command("health", "--json", "--set", f"wyoming.uri={uri['tcp']}")
        assert unwell.returncode == 1
        assert json.loads(unwell.stdout)["model"]["code"] == "model-corrupt"

        settings.write_text("[model]\nname = 'embedded'\n[ears]\nvad = false\n", encoding="utf-8")
        child.process.send_signal(signal.SIGHUP)
        child.until_told("mini-en serves")
        again = child.command("models", "use", EMBEDDED)
        assert again.stdout.splitlines()[-1] == "mini-en serves"

        settings.write_text("[model]\nnam = 'embedded'\n", encoding="utf-8")
        child.process.send_signal(signal.SIGHUP)
        assert child.command("health", "--set", f"wyoming.uri={uri['tcp']}").returncode == 0
        child.process.send_signal(signal.SIGTERM)
        status, _, err = child.ended()
    assert status == 0, err
    assert "ears.vad has changed; restart the daemon for it to take effect" in err
    assert "the settings stay as they were: model.nam" in err
    assert "Traceback" not in err
    assert not any(os.scandir(Path(env["XDG_RUNTIME_DIR"], "ears-edge")))


def test_a_model_that_is_put_down_is_loaded_again_for_who_speaks(
    tmp_path: Path, env: Mapping[str, str]
) -> None:
    with Child(tmp_path, "--set", "model.idle_unload_s=0.05", env=env) as child:
        uri = child.ready()
        child.until_told("was put down")

        async def speak() -> None:
            async with await Client.to(uri["tcp"]) as client:
                assert await heard(client) == WORDS

        asyncio.run(speak())
        child.until_told("mini-en serves")
        child.until_told("was put down")
        child.process.send_signal(signal.SIGTERM)
        status, _, err = child.ended()
    assert status == 0, err
