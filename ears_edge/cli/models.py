"""`ears-edge models ...`."""

from pathlib import Path

import click

from ears_edge.cli.flags import read, valid, with_settings


@click.group()
def models() -> None:
    """Fetch, check and remove models."""


@models.command("list", short_help="Print the models that have a name, and those that are here.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_settings
def models_list(as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Print the models that have a name, and all that were pulled."""
    config = valid(read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # of no use to the other commands

    return model_commands.list_models(config, as_json=as_json)


@models.command("info", short_help="Print all that is known of a model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_settings
def models_info(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Print all that is known of NAME: languages, licence, size, where it is, where it came from."""
    config = valid(read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.info(name, config, as_json=as_json)


@models.command("pull", short_help="Fetch a model, go on with a fetch, or mend what was fetched.")
@click.argument("name")
@click.option("--update", is_flag=True, help="Take the newest, not what the first pull took.")
@click.option("--float", "floats", is_flag=True, help="Also the float encoder, which some devices want.")
@click.option("--no-test", is_flag=True, help="Do not let it hear the test clip: for too little memory.")
@with_settings
def models_pull(  # noqa: PLR0917  # click calls it by keywords
    name: str,
    update: bool,  # noqa: FBT001  # as above
    floats: bool,  # noqa: FBT001  # as above
    no_test: bool,  # noqa: FBT001  # as above
    file: Path | None,
    sets: tuple[str, ...],
) -> int:
    """Fetch NAME: a model of the list, or owner/repo[@revision] of the hub. What is here is checked."""
    config = valid(read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.pull(name, config, update=update, floats=floats, test=not no_test)


@models.command("use", short_help="Have the running daemon serve another model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs: the status at each change, one a line.")
@with_settings
def models_use(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Have the running daemon fetch, optimize, test and serve NAME; it goes on with what it has meanwhile."""
    config = valid(read(file, sets))
    from ears_edge import use_command  # noqa: PLC0415  # as above

    return use_command.run(name, config, as_json=as_json)


@models.command("verify", short_help="Compare a model's files with what was pulled.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_settings
def models_verify(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Compare every file of NAME with what the first pull recorded: exit status 0, or 69 if one differs."""
    config = valid(read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.verify(name, config, as_json=as_json)


@models.command("remove", short_help="Delete a pulled model.")
@click.argument("name")
@with_settings
def models_remove(name: str, file: Path | None, sets: tuple[str, ...]) -> int:
    """Delete the pulled model NAME, or what a fetch that did not end left of it."""
    config = valid(read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.remove(name, config)


@models.command("optimize", short_help="Rewrite a model for this machine: faster, with the same words.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_settings
def models_optimize(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Rewrite the encoder of NAME for this CPU; the model's own files stay as they are."""
    config = valid(read(file, sets))
    from ears_edge import optimize_command  # noqa: PLC0415  # as above

    return optimize_command.run(name, config, as_json=as_json)
