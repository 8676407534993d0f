"""What commands share: reading the settings, and telling what is wrong with them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import click

from ears_edge import settings
from ears_edge.config import Config

CONFIG: Final = 78
"""The settings have mistakes."""

Command: TypeAlias = Callable[..., Any]  # click's decorators take functions of any parameters
C = TypeVar("C", bound=Command)


def path_text(file: Path | None) -> str | None:
    """A path to be shown; its bytes on the disk may be no text."""
    return os.fsencode(file).decode(errors="replace") if file else None


def complain(text: str) -> None:
    """One line on standard error."""
    click.echo(f"ears-edge: {' '.join(text.splitlines())}", err=True)


def with_settings(command: C) -> C:
    """Flags of every command that reads the settings."""
    command = click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Set any key; wins over file and environment.",
    )(command)
    return click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file; else EARS_EDGE_CONFIG, the user's, or the system's.",
    )(command)


def read(file: Path | None, sets: Sequence[str], **flags: str | None) -> settings.Settings:
    """Read the settings; a flag's name is its key, with `__` for the dot."""
    overrides = {name.replace("__", "."): text for name, text in flags.items() if text is not None}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise click.BadParameter(f"{text!r} is not SECTION.KEY=VALUE", param_hint="--set")
        overrides[key.strip()] = value
    return settings.inspect(file, os.environ, overrides)


def valid(found: settings.Settings) -> Config:
    """The settings, once their problems and warnings have been told.

    Raises:
        SystemExit: There are problems.
    """
    tell(found)
    if found.problems:
        raise click.exceptions.Exit(CONFIG)
    return found.config


def tell(found: settings.Settings) -> None:
    """Say what is wrong with the settings, and what is doubtful."""
    for problem in found.problems:
        complain(str(problem))
    for warning in found.warnings:
        complain(f"warning: {warning}")
