"""What README.md and CHANGELOG.md say exists, exists."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from ears_edge import __version__
from ears_edge.cli import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
COMMANDS = sorted(
    {
        found.strip()
        for text in (*CODE.splitlines(), *SPANS)
        for found in re.findall(r"(?<![\w/.-])ears-edge( [a-z][^#>)]*)", text)
    }
)


def test_commands_are_found() -> None:
    assert {command.split()[0] for command in COMMANDS} >= {"serve", "transcribe", "bench", "config", "token"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: str) -> None:
    entry: click.Command = cli
    words = shlex.split(command)
    while isinstance(entry, click.Group):
        entry = entry.commands[words.pop(0)]
    with entry.make_context("ears-edge", words) as parsed:
        files = parsed.params.get("files", ())
    for pattern in files:
        assert pattern == "FILE" or [*ROOT.glob(pattern)], pattern


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for line in CODE.splitlines() for word in re.findall(r"^make (\w+)", line)}
    assert {"run", "test", "check"} <= named <= targets


def test_the_two_commands_stand_on_the_first_screen() -> None:
    first_screen = README.splitlines()[:24]
    assert any(line.startswith("make run") for line in first_screen)
    assert any(line.startswith("make test") for line in first_screen)


def test_all_versions_are_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## \[([^]]+)\]", changes, re.MULTILINE)[0]
    assert project["version"] == __version__ == newest
    assert f"ears_edge {__version__}\n" in CODE
