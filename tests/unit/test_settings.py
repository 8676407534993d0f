"""Layers, sources and kind errors of the settings."""

import os
from pathlib import Path

import pytest

from ears_edge import settings
from ears_edge.config import Config
from ears_edge.errors import ConfigError


def write(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    file = folder / "ears-edge.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def problems(
    path: Path | None = None, env: dict[str, str] | None = None, overrides: dict[str, str] | None = None
) -> list[str]:
    return [str(problem) for problem in settings.inspect(path, env or {}, overrides or {}).problems]


@pytest.fixture(autouse=True)
def no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "etc" / "ears-edge.toml")


def test_with_nothing_given_the_defaults_hold() -> None:
    assert settings.load(None, {}) == Config()


def test_each_layer_wins_over_the_one_below(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "[ears]\nport = 1\nstall_flush_s = 2\n[wyoming]\nmax_connections = 3\n[log]\nlevel = 'error'\n",
    )
    env = {"EARS_EDGE_EARS__PORT": "11", "EARS_EDGE_WYOMING__MAX_CONNECTIONS": "13"}
    found = settings.inspect(file, env, {"ears.port": "111"})
    assert found.problems == []
    assert (found.config.ears.port, found.config.wyoming.max_connections) == (111, 13)
    assert (found.config.ears.stall_flush_s, found.config.log.level) == (2.0, "error")
    assert found.origins == {
        "ears.port": "command line",
        "wyoming.max_connections": "EARS_EDGE_WYOMING__MAX_CONNECTIONS",
        "ears.stall_flush_s": str(file),
        "log.level": str(file),
    }


@pytest.mark.parametrize(
    ("variable", "text", "dotted", "value"),
    [
        ("EARS_EDGE_EARS__PORT", " 9000 ", "ears.port", 9000),
        ("EARS_EDGE_EARS__PID_FILE", "false", "ears.pid_file", False),
        ("EARS_EDGE_ENGINE__LEFT_S", "3", "engine.left_s", 3.0),
        ("EARS_EDGE_MODEL__LANGUAGES", "en, de,,", "model.languages", ("en", "de")),
        ("EARS_EDGE_ZEROCONF__NAME", "1234", "zeroconf.name", "1234"),
        ("EARS_EDGE_EARS__PORT", " ", "ears.port", 8765),
    ],
)
def test_a_variable_gives_a_typed_value_and_a_blank_one_nothing(
    variable: str, text: str, dotted: str, value: object
) -> None:
    section, name = dotted.split(".")
    assert getattr(getattr(settings.load(None, {variable: text}), section), name) == value


@pytest.mark.parametrize("content", ["one\ntwo\n", "one,two", "  one ,\n two \n\n", "one\r\ntwo\r\n"])
def test_a_secret_comes_from_the_file_that_a_variable_names(tmp_path: Path, content: str) -> None:
    file = write(tmp_path, content)
    found = settings.inspect(None, {"EARS_EDGE_EARS__LISTENER_TOKENS_FILE": str(file)})
    assert found.config.ears.listener_tokens == ("one", "two")
    assert found.origins == {"ears.listener_tokens": "EARS_EDGE_EARS__LISTENER_TOKENS_FILE"}


def test_a_key_that_ends_in_file_is_not_taken_for_a_secret_of_another(tmp_path: Path) -> None:
    file = write(tmp_path, "false")
    assert not settings.load(None, {"EARS_EDGE_EARS__PID_FILE_FILE": str(file)}).ears.pid_file


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    file = write(tmp_path, "one")
    env = {"EARS_EDGE_EARS__LISTENER_TOKENS": "two", "EARS_EDGE_EARS__LISTENER_TOKENS_FILE": str(file)}
    (problem,) = problems(env=env)
    assert "ears.listener_tokens" in problem
    assert "both EARS_EDGE_EARS__LISTENER_TOKENS and EARS_EDGE_EARS__LISTENER_TOKENS_FILE" in problem


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_secret_that_everybody_can_read_is_warned_about(tmp_path: Path, mode: int, *, warned: bool) -> None:
    file = write(tmp_path, "[ears]\nenable_listener_mode = true\nlistener_tokens = ['hunter2']\n", mode=mode)
    assert bool(settings.inspect(file, {}).warnings) is warned
    token = write(tmp_path, "hunter2", mode=mode)
    env = {"EARS_EDGE_EARS__LISTENER_TOKENS_FILE": str(token), "EARS_EDGE_EARS__ENABLE_LISTENER_MODE": "true"}
    warnings = settings.inspect(None, env).warnings
    assert bool(warnings) is warned
    assert "hunter2" not in "".join(warnings)


def test_a_file_without_secrets_may_be_read_by_everybody(tmp_path: Path) -> None:
    assert settings.inspect(write(tmp_path, "[ears]\nport = 1\n", mode=0o644), {}).warnings == []


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[ears]\nprot = 1\n", ["ears.prot: no such key", "ears-edge.toml", "did you mean ears.port?"]),
        ("[eras]\nport = 1\n", ["eras: no such section", "did you mean ears?"]),
        ("port = 1\n", ["port: no such section", "ears.port"]),
        ("[wyoming]\nport = 1\n", ["wyoming.port: no such key", "did you mean"]),
        ("[zzzz]\nqqqq = 1\n", ["zzzz: no such section", "config show"]),
        ("ears = 3\n", ["ears: ", "write [ears] above its keys"]),
        (
            "[ears]\nport = 'abc'\n",
            ["ears.port: got 'abc'", "ears-edge.toml", "a whole number from 0 up to 65535"],
        ),
        ("[ears]\nport = 65536\n", ["ears.port: got 65536", "a whole number from 0 up to 65535"]),
        ("[ears]\nport = 1.5\n", ["ears.port: got 1.5"]),
        ("[ears]\nport = '1'\n", ["ears.port: got '1'"]),
        ("[ears]\nenabled = 'yes'\n", ["ears.enabled: got 'yes'", "true or false"]),
        ("[ears]\nstall_flush_s = 0\n", ["ears.stall_flush_s: got 0", "a number above 0 up to 1000000"]),
        ("[ears]\nstall_flush_s = nan\n", ["ears.stall_flush_s: got nan"]),
        ("[engine]\nlive_confidence = inf\n", ["engine.live_confidence: got inf"]),
        ("[log]\nlevel = 'loud'\n", ["log.level: got 'loud'", "one of debug, info, warning, error"]),
        ("[model]\nlanguages = 'en'\n", ["model.languages: got 'en'", "a list of texts"]),
        ("[model]\nlanguages = ['en-US']\n", ["model.languages: got 'en-US'", "bare code"]),
        ("[model]\nname = 3\n", ["model.name: got 3", "expected text"]),
        ("[model]\nname = ' '\n", ["model.name: is empty"]),
        (
            "[engine]\nchunk_s = 9.0\n",
            ["engine.chunk_s: left_s + chunk_s + right_s is 15.8 s", "full_window_s (15 s)"],
        ),
        ("[wyoming]\nenabled = false\n[ears]\nenabled = false\n", ["both servers are off"]),
        ("[ears]\nport = 10300\n", ["ears.port: 10300 is the port of wyoming.uri"]),
        ("[ears]\nallowed_origins = ['http://ha:8123/']\n", ["ears.allowed_origins: got 'http://ha:8123/'"]),
        (f"[zeroconf]\nname = '{'ä' * 32}'\n", ["zeroconf.name", "59 bytes"]),
        ('[zeroconf]\nname = "a\\u0007"\n', ["zeroconf.name", "printable"]),
        ("[wyoming]\nuri = 'http://x'\n", ["wyoming.uri: got 'http://x'", "tcp://HOST:PORT"]),
        ("[wyoming]\nuri = 'tcp://0.0.0.0'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'tcp://:1'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'tcp://x:99999'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'unix://relative'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'tcp://[::1'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'tcp://me:hunter@box:1'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'unix:///run/x?y'\n", ["wyoming.uri"]),
        ("[wyoming]\nuri = 'ws://box:1'\n", ["wyoming.uri"]),
        ("[ears]\nhost = ''\nport = 10300\n", ["ears.port: 10300 is the port of wyoming.uri"]),
        ("[ears\n", ["is not valid TOML", "line 1"]),
        ("[ears]\nport = 1\nport = 2\n", ["is not valid TOML"]),
        (f"x = {'[' * 3000}", ["is not valid TOML", "nested too deeply"]),
        ("#" * 1_100_000, ["ears-edge.toml is larger than 1 MiB"]),
    ],
)
def test_a_mistake_in_the_file_is_told_with_key_source_and_what_is_expected(
    tmp_path: Path, toml: str, says: list[str]
) -> None:
    (problem,) = problems(write(tmp_path, toml))
    for part in says:
        assert part in problem


@pytest.mark.parametrize(
    "uri", ["tcp://127.0.0.1:0", "tcp://[::]:10300", "tcp://host:10300/", "unix:///run/x.sock", "stdio://"]
)
def test_every_transport_of_wyoming_is_accepted(uri: str) -> None:
    assert problems(overrides={"wyoming.uri": uri}) == []


def test_two_servers_on_one_machine_may_share_a_port_number_on_different_addresses() -> None:
    assert (
        problems(overrides={"wyoming.uri": "tcp://127.0.0.1:7", "ears.host": "127.0.0.2", "ears.port": "7"})
        == []
    )


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"EARS_EDGE_EARS__PROT": "1"}, ["EARS_EDGE_EARS__PROT: no such variable", "EARS_EDGE_EARS__PORT?"]),
        ({"EARS_EDGE_EARS_PORT": "1"}, ["EARS_EDGE_EARS_PORT", "did you mean EARS_EDGE_EARS__PORT?"]),
        ({"EARS_EDGE_ears__port": "1"}, ["EARS_EDGE_ears__port", "did you mean EARS_EDGE_EARS__PORT?"]),
        ({"EARS_EDGE_NONSENSE": ""}, ["EARS_EDGE_NONSENSE", "no such variable"]),
        ({"EARS_EDGE_EARS__PORT": "1.5.2"}, ["ears.port: got '1.5.2' from EARS_EDGE_EARS__PORT"]),
        (
            {"EARS_EDGE_EARS__PORT_FILE": "/nowhere/x"},
            ["ears.port: can't read /nowhere/x", "EARS_EDGE_EARS__PORT_FILE"],
        ),
        (
            {"EARS_EDGE_ZEROCONF__NAME": "K\udcfcche"},
            ["zeroconf.name: the value from EARS_EDGE_ZEROCONF__NAME is not text in UTF-8"],
        ),
    ],
)
def test_a_mistake_in_the_environment_is_told(env: dict[str, str], says: list[str]) -> None:
    (problem,) = problems(env=env)
    for part in says:
        assert part in problem


def test_other_programs_variables_are_left_alone() -> None:
    assert problems(env={"EARS_EDGES": "1", "PATH": "/bin", "EARS_PORT": "3", "EARS_EDGE_CONFIG": ""}) == []


def test_an_unknown_key_on_the_command_line_is_told() -> None:
    (problem,) = problems(overrides={"ears.prt": "1"})
    assert "ears.prt: no such key (from the command line); did you mean ears.port?" in problem


def test_all_problems_are_found_in_one_go_and_load_raises_the_first(tmp_path: Path) -> None:
    file = write(tmp_path, "[ears]\nport = -1\n[x]\n")
    found = settings.inspect(file, {"EARS_EDGE_X": "1"}, {"log.level": "loud"})
    assert [problem.key for problem in found.problems] == ["ears.port", "x", "EARS_EDGE_X", "log.level"]
    with pytest.raises(ConfigError, match=r"ears\.port") as raised:
        settings.load(file, {})
    assert raised.value.key == "ears.port"
    assert raised.value.code == "config"


def test_a_secret_is_never_part_of_a_message_or_of_what_is_shown(tmp_path: Path) -> None:
    (problem,) = problems(write(tmp_path, "[ears]\nlistener_tokens = 'hunter2'\n"))
    assert "ears.listener_tokens" in problem
    assert "hunter2" not in problem
    found = settings.inspect(None, {"EARS_EDGE_EARS__LISTENER_TOKENS": "hunter2,hunter3"})
    assert found.config.ears.listener_tokens == ("hunter2", "hunter3")
    assert found.shown()["ears"]["listener_tokens"] == "<2 hidden>"
    assert set(found.shown()) == {
        "model",
        "models",
        "engine",
        "wyoming",
        "ears",
        "zeroconf",
        "control",
        "log",
    }


def test_the_token_of_the_hub_is_shown_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hf_hunter2\n", encoding="utf-8")
    secret.chmod(0o600)
    found = settings.inspect(None, {"EARS_EDGE_MODELS__TOKEN_FILE": str(secret)})
    assert (found.problems, found.warnings) == ([], [])
    assert found.config.models.token == secret.read_text(encoding="utf-8").strip()
    assert "hunter2" not in str(found.shown()["models"])
    assert "hunter2" not in repr(found.config)
    (problem,) = problems(overrides={"models.token": "hunter2 and more"})
    assert "models.token: expected one word" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("https://mirror.example", None),
        ("http://127.0.0.1:8080/hub", None),
        ("mirror.example", "got 'mirror.example'; expected https://HOST"),
        ("https://me:hunter2@mirror.example", "got an address with a login; expected"),
        ("https://", "expected https://HOST"),
    ],
)
def test_the_endpoint_is_an_address_of_the_web_without_a_login(endpoint: str, problem: str | None) -> None:
    found = problems(overrides={"models.endpoint": endpoint})
    assert len(found) == (problem is not None)
    assert all(problem is not None and problem in text and "hunter2" not in text for text in found)


def test_a_token_that_would_travel_in_the_clear_is_doubted() -> None:
    found = settings.inspect(None, {}, {"models.endpoint": "http://mirror.example", "models.token": "x"})
    assert found.problems == []
    assert len(found.warnings) == 1


@pytest.mark.parametrize(
    "env", [{"EARS_EDGE_EARS__ENABLE_LISTENER_MODE": "true"}, {"EARS_EDGE_EARS__LISTENER_TOKENS": "x"}]
)
def test_half_of_a_listener_set_up_is_doubted(env: dict[str, str]) -> None:
    found = settings.inspect(None, env)
    assert found.problems == []
    assert len(found.warnings) == 1


def test_the_file_is_searched_in_order(tmp_path: Path) -> None:
    paths = {
        "named": tmp_path / "named.toml",
        "xdg": tmp_path / "xdg" / "ears-edge" / "ears-edge.toml",
        "home": tmp_path / "home" / ".config" / "ears-edge" / "ears-edge.toml",
        "system": settings.SYSTEM_FILE,
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    home = {"HOME": str(tmp_path / "home")}
    xdg = {**home, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert settings.inspect(None, {**xdg, "EARS_EDGE_CONFIG": str(paths["named"])}).file == paths["named"]
    assert settings.inspect(None, xdg).file == paths["xdg"]
    assert settings.inspect(None, home).file == paths["home"]
    assert settings.inspect(None, {}).file == paths["system"]
    paths["home"].unlink()
    assert settings.inspect(None, home).file == paths["system"]
    paths["system"].unlink()
    assert settings.inspect(None, home).file is None


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_file_that_was_named_must_be_there(tmp_path: Path, *, by_flag: bool) -> None:
    missing = tmp_path / "missing.toml"
    (problem,) = problems(missing) if by_flag else problems(env={"EARS_EDGE_CONFIG": str(missing)})
    assert "missing.toml: No such file" in problem


def test_a_folder_and_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    assert "can't read the settings file" in problems(tmp_path)[0]
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "binary.toml is not text in UTF-8" in problems(binary)[0]
    assert "not text in UTF-8" in problems(env={"EARS_EDGE_LOG__LEVEL_FILE": str(binary)})[0]


def test_a_byte_order_mark_as_some_editors_write_it_is_no_mistake(tmp_path: Path) -> None:
    assert settings.load(write(tmp_path, "\ufeff[ears]\nport = 1\n"), {}).ears.port == 1


def test_a_secret_of_endless_length_is_not_read_to_its_end() -> None:
    (problem,) = problems(env={"EARS_EDGE_MODELS__TOKEN_FILE": "/dev/zero"})
    assert problem.startswith(
        "models.token: /dev/zero, which EARS_EDGE_MODELS__TOKEN_FILE names, is larger than"
    )


def test_a_home_that_cant_be_looked_into_is_passed_over() -> None:
    assert settings.inspect(None, {"HOME": f"/{'x' * 5000}"}).problems == []


def test_a_file_whose_name_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.toml")
    file.write_text("[ears]\nport = 1\n", encoding="utf-8")
    found = settings.inspect(file, {})
    assert found.origins == {"ears.port": f"{tmp_path}/caf\ufffd.toml"}
