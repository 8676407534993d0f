"""The command line as a user meets it: exit statuses, one line a mistake, nothing heavy for light work."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ears_edge import __version__, settings, transcribe
from ears_edge.bench import command as bench_command
from ears_edge.cli import main
from ears_edge.config import Config
from ears_edge.errors import InferenceError, ModelNotFoundError, UnavailableError
from ears_edge.settings import Settings

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "none.toml")


def test_version_and_help_are_told(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ears-edge {__version__}\n"
    for command in (
        [],
        ["serve"],
        ["transcribe"],
        ["bench"],
        ["token"],
        ["health"],
        ["config"],
        ["config", "show"],
    ):
        assert main([*command, "--help"]) == 0
        assert "Usage: ears-edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["nosuch"],
        ["serve", "--nosuch"],
        ["serve", "--set", "novalue"],
        ["serve", "--set", "nokey=1"],
        ["transcribe"],
        ["transcribe", "--server", "tcp://x:1", "--model", "x", "f.wav"],
        ["transcribe", "--language", "", "f.wav"],
        ["transcribe", "--language", "\udcff", "f.wav"],
        ["bench", "--sessions", "0"],
        ["bench", "--server", "tcp://x:1", "--model", "x"],
        ["health", "--timeout", "-1"],
    ],
)
def test_wrong_usage_is_status_2_with_a_hint(argv: list[str], capsys: Captured) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert "Error: " in captured.err
    assert captured.out == ""


def test_a_token_is_printed_and_is_another_each_time(capsys: Captured) -> None:
    assert main(["token"]) == main(["token"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(first) >= 32


def test_config_check_names_each_problem_and_warning(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        "[ears]\nprot = 1\nenable_listener_mode = true\n[log]\nlevel = 'loud'\n", encoding="utf-8"
    )
    assert main(["config", "check", str(file)]) == 78
    captured = capsys.readouterr()
    problem, other, warning = captured.err.splitlines()
    assert problem.startswith("ears-edge: ears.prot: no such key")
    assert other.startswith("ears-edge: log.level: got 'loud'")
    assert warning.startswith("ears-edge: warning: ears.enable_listener_mode")
    assert captured.out == ""


def test_config_check_of_sound_settings_is_status_0(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[ears]\nport = 1\n", encoding="utf-8")
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr() == (f"{file}: all is well\n", "")
    assert main(["config", "check"]) == 0
    assert main(["config", "check", str(tmp_path / "missing.toml")]) == 78


def test_config_show_is_toml_with_the_source_of_what_is_not_a_default(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EARS_EDGE_EARS__PORT", "9000")
    monkeypatch.setenv("EARS_EDGE_EARS__LISTENER_TOKENS", "hunter2")
    assert main(["config", "show", "--set", "zeroconf.name=my box"]) == 0
    captured = capsys.readouterr()
    assert "port = 9000  # EARS_EDGE_EARS__PORT\n" in captured.out
    assert 'name = "my box"  # command line\n' in captured.out
    assert "vad = true\n" in captured.out
    assert "hunter2" not in captured.out + captured.err
    monkeypatch.delenv("EARS_EDGE_EARS__LISTENER_TOKENS")
    assert main(["config", "show"]) == 0
    file = tmp_path / "shown.toml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    monkeypatch.delenv("EARS_EDGE_EARS__PORT")
    assert settings.load(file, {}).ears.port == 9000


def test_config_show_as_json_tells_value_and_source_of_every_key(capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[ears]\nlistener_tokens = ['hunter2']\n", encoding="utf-8")
    assert main(["config", "show", "--json", "--config", str(file)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["file"] == str(file)
    assert shown["settings"]["ears"]["listener_tokens"] == {"value": "<1 hidden>", "from": str(file)}
    assert shown["settings"]["log"]["level"] == {"value": "info", "from": "default"}
    keys = {f"{section}.{key}" for section, table in shown["settings"].items() for key in table}
    assert keys == set(settings.KEYS)


@pytest.mark.parametrize(
    "argv", [["serve"], ["transcribe", "f"], ["bench"], ["health"], ["config", "show"], ["config", "check"]]
)
def test_mistakes_in_the_settings_stop_every_command_that_reads_them(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("EARS_EDGE_EARS__PRT", "1")
    assert main(argv) == 78
    captured = capsys.readouterr()
    assert captured.err.startswith("ears-edge: EARS_EDGE_EARS__PRT: no such variable")
    assert captured.out == ""


def test_flags_reach_the_daemon_as_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from ears_edge import daemon  # noqa: PLC0415  # heavy, as in the command itself

    served: list[Config] = []

    def run(config: Config, *, reread: Callable[[], Settings]) -> int:
        served.append(config)
        assert reread().config == config  # flags included: SIGHUP must not lose them
        return 0

    monkeypatch.setattr(daemon, "run", run)
    flags = ["--wyoming-uri", "stdio://", "--ears-host", "::1", "--ears-port", "7", "--model", "/m"]
    flags += ["--threads", "3", "--log-level", "debug", "--no-zeroconf", "--set", "engine.left_s=1"]
    assert main(["serve", *flags]) == 0
    (config,) = served
    assert (config.wyoming.uri, config.ears.host, config.ears.port) == ("stdio://", "::1", 7)
    assert (config.model.name, config.model.threads, config.log.level) == ("/m", 3, "debug")
    assert (config.zeroconf.enabled, config.engine.left_s) == (False, 1.0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnavailableError("no port"), 75),
        (ModelNotFoundError("no model"), 69),
        (InferenceError("no luck\nat all"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_status_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, error: BaseException, status: int
) -> None:
    def run(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(transcribe, "run", run)
    assert main(["transcribe", "x.wav"]) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert lines == ([f"ears-edge: {' '.join(str(error).splitlines())}"] if str(error) else [])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"output": "text", "server": None, "live": False, "language": None}),
        (["--json", "--live"], {"output": "json", "live": True}),
        (["--srt", "--language", "en"], {"output": "srt", "language": "en"}),
        (["--vtt", "--server", "ws://h:1"], {"output": "vtt", "server": "ws://h:1"}),
    ],
)
def test_flags_reach_the_transcriber(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], expected: dict[str, object]
) -> None:
    calls: list[dict[str, object]] = []

    def run(files: Sequence[str], **given: object) -> int:
        calls.append({"files": files, **given})
        return 1

    monkeypatch.setattr(transcribe, "run", run)
    assert main(["transcribe", *flags, "--threads", "2", "a.wav", "b.wav"]) == 1
    (call,) = calls
    assert call["files"] == ("a.wav", "b.wav")
    assert {**call, **expected} == call
    assert isinstance(call["config"], Config)
    assert call["config"].model.threads == 2


def test_flags_reach_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, object]] = []

    def run(files: Sequence[str], **given: object) -> int:
        calls.append({"files": files, **given})
        return 0

    monkeypatch.setattr(bench_command, "run", run)
    assert main(["bench", "--sessions", "3", "--repeat", "2", "--live", "--json", "a.wav"]) == 0
    (call,) = calls
    config = call.pop("config")
    assert isinstance(config, Config)
    assert call == {
        "files": ("a.wav",),
        "server": None,
        "sessions": 3,
        "repeat": 2,
        "live": True,
        "as_json": True,
    }


def test_health_of_nobody_is_status_1(capsys: Captured) -> None:
    assert main(["health", "--set", "wyoming.uri=unix:///nowhere/socket"]) == 1
    assert "is the daemon running?" in capsys.readouterr().err


def test_light_commands_load_nothing_heavy() -> None:
    heavy = ("numpy", "onnxruntime", "rich", "zeroconf", "websockets", "asyncio", "soundfile")
    code = (
        "import sys; from ears_edge.cli import main; main(['config', 'check']); main(['token']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("argv", [["config", "show"], ["--version"], ["token"]])
def test_a_reader_that_has_had_enough_is_told_nothing(argv: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", "ears_edge", *argv],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
