"""The command line: flags in, one call of the part that does the work, exit statuses out.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 69 the model can't be used, 75 a port or the PID file is
taken, 78 the settings have mistakes. Source: sysexits.h. The only module that imports click.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TextIO, TypeAlias, TypeVar

import click

from ears_edge import __version__, settings
from ears_edge.config import Config
from ears_edge.errors import ConfigError, EarsEdgeError, ModelError, UnavailableError
from ears_edge.typed import to_json

OK: Final = 0
FAILED: Final = 1
MODEL: Final = 69
UNAVAILABLE: Final = 75
CONFIG: Final = 78
INTERRUPTED: Final = 130
"""As if SIGINT had ended us."""

Command: TypeAlias = Callable[..., Any]  # click's decorators take functions of any parameters
C = TypeVar("C", bound=Command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; what a user did wrong costs one line on standard error, never a traceback."""
    _prepare_streams()
    # Until a command handles it in its own way, Ctrl-C just ends us: libraries that are being loaded would
    # turn it into tracebacks of theirs.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        outcome = cli.main(list(argv) if argv is not None else None, "ears-edge", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except EarsEdgeError as exc:
        _complain(str(exc))
        return _status(exc)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except OSError as exc:
        _give_up_on(sys.stdout)
        if not isinstance(exc, BrokenPipeError):  # nobody reads any further, as after `| head`
            _complain(f"can't go on: {exc.strerror or exc}")
        return FAILED
    finally:
        signal.signal(signal.SIGINT, handler)
        try:
            sys.stderr.flush()
        except OSError:
            _give_up_on(sys.stderr)
    return outcome if isinstance(outcome, int) else OK


def _prepare_streams() -> None:
    """Make the standard streams fit to be used, whatever started us."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed: else the first socket would get its number, and our output
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has not every letter


def _give_up_on(stream: TextIO) -> None:
    """Send what waits in the stream nowhere: Python flushes it at exit, where nobody could catch an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _status(exc: EarsEdgeError) -> int:
    match exc:
        case ConfigError():
            return CONFIG
        case UnavailableError():
            return UNAVAILABLE
        case ModelError():
            return MODEL
        case _:
            return FAILED


def _name(file: Path | None) -> str | None:
    """A path to be shown; its bytes on the disk may be no text."""
    return os.fsencode(file).decode(errors="replace") if file else None


def _complain(text: str) -> None:
    click.echo(f"ears-edge: {' '.join(text.splitlines())}", err=True)


def _with_settings(command: C) -> C:
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


def _read(file: Path | None, sets: Sequence[str], **flags: str | None) -> settings.Settings:
    """Read the settings; a flag's name is its key, with `__` for the dot."""
    overrides = {name.replace("__", "."): text for name, text in flags.items() if text is not None}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise click.BadParameter(f"{text!r} is not SECTION.KEY=VALUE", param_hint="--set")
        overrides[key.strip()] = value
    return settings.inspect(file, os.environ, overrides)


def _valid(found: settings.Settings) -> Config:
    """The settings, once their problems and warnings have been told.

    Raises:
        SystemExit: There are problems.
    """
    _tell(found)
    if found.problems:
        raise click.exceptions.Exit(CONFIG)
    return found.config


def _tell(found: settings.Settings) -> None:
    for problem in found.problems:
        _complain(str(problem))
    for warning in found.warnings:
        _complain(f"warning: {warning}")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="ears-edge %(version)s")
def cli() -> None:
    """Speech to text for the LAN: a daemon for Wyoming and eaRS clients, and its tools."""


@cli.command()
@_with_settings
@click.option("--wyoming-uri", metavar="URI", help="tcp://HOST:PORT, unix:///PATH or stdio://.")
@click.option("--ears-host", metavar="HOST", help="Address of the eaRS server.")
@click.option("--ears-port", metavar="PORT", help="Port of the eaRS server.")
@click.option("--model", metavar="NAME", help="A model that was pulled, `embedded`, or a folder of files.")
@click.option("--threads", metavar="N", help="CPU threads of one encoder run; 0: one for each core.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--no-zeroconf", is_flag=True, help="Do not announce the servers on the network.")
def serve(  # noqa: PLR0917  # click calls it by keywords
    file: Path | None,
    sets: tuple[str, ...],
    wyoming_uri: str | None,
    ears_host: str | None,
    ears_port: str | None,
    model: str | None,
    threads: str | None,
    log_level: str | None,
    no_zeroconf: bool,  # noqa: FBT001  # as above
) -> int:
    """Run the daemon until SIGTERM or Ctrl-C."""
    read = partial(
        _read,
        file,
        sets,
        wyoming__uri=wyoming_uri,
        ears__host=ears_host,
        ears__port=ears_port,
        model__name=model,
        model__threads=threads,
        log__level=log_level,
        zeroconf__enabled="false" if no_zeroconf else None,
    )
    config = _valid(read())
    from ears_edge import daemon  # noqa: PLC0415  # heavy, and of no use to the other commands

    return daemon.run(config, reread=read)


@cli.command(short_help="Print what is said in audio files.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "output", flag_value="json", help="One JSON object a file, with word times.")
@click.option("--srt", "output", flag_value="srt", help="SubRip subtitles.")
@click.option("--vtt", "output", flag_value="vtt", help="WebVTT subtitles.")
@click.option(
    "--server", metavar="URI", help="Ask a server: tcp://HOST:PORT, unix:///PATH or ws://HOST:PORT."
)
@click.option("--live", is_flag=True, help="At the pace of speech, with words as they come.")
@click.option("--language", metavar="CODE", help="What is spoken, such as en.")
@click.option("--model", metavar="NAME", help="A model that was pulled, `embedded`, or a folder of files.")
@click.option("--threads", metavar="N", help="CPU threads of one encoder run; 0: one for each core.")
@_with_settings
def transcribe(  # noqa: PLR0917  # click calls it by keywords
    files: tuple[str, ...],
    output: Literal["json", "srt", "vtt"] | None,
    server: str | None,
    live: bool,  # noqa: FBT001  # as above
    language: str | None,
    model: str | None,
    threads: str | None,
    file: Path | None,
    sets: tuple[str, ...],
) -> int:
    """Print what is said in each FILE (wav, flac, ogg, mp3; - is standard input)."""
    if server is not None and model is not None:
        raise click.UsageError("--model is for an engine in this process; the server has its own")
    if language is not None and not (language.isascii() and language.isprintable() and language.strip()):
        raise click.BadParameter(f"{language!r} is no code such as en", param_hint="--language")
    config = _valid(_read(file, sets, model__name=model, model__threads=threads))
    from ears_edge import transcribe as transcribing  # noqa: PLC0415  # heavy

    return transcribing.run(
        files, output=output or "text", server=server, live=live, language=language, config=config
    )


@cli.command(short_help="Measure speed, latency, memory and word errors.")
@click.argument("files", metavar="[FILE...]", nargs=-1)
@click.option(
    "--server", metavar="URI", help="Measure a server: tcp://HOST:PORT, unix:///PATH or ws://HOST:PORT."
)
@click.option("--sessions", type=click.IntRange(1, 1000), default=1, show_default=True, help="At once.")
@click.option(
    "--repeat", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Runs of each file."
)
@click.option("--live", is_flag=True, help="At the pace of speech, asking for words on the way.")
@click.option("--providers", is_flag=True, help="Compare the devices that the encoder can run on here.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--model", metavar="NAME", help="A model that was pulled, `embedded`, or a folder of files.")
@click.option("--threads", metavar="N", help="CPU threads of one encoder run; 0: one for each core.")
@_with_settings
def bench(  # noqa: PLR0917  # click calls it by keywords
    files: tuple[str, ...],
    server: str | None,
    sessions: int,
    repeat: int,
    live: bool,  # noqa: FBT001  # as above
    providers: bool,  # noqa: FBT001  # as above
    as_json: bool,  # noqa: FBT001  # as above
    model: str | None,
    threads: str | None,
    file: Path | None,
    sets: tuple[str, ...],
) -> int:
    """Measure speed, latency, memory and word errors, on each FILE or on a made-up voice."""
    if server is not None and model is not None:
        raise click.UsageError("--model is for an engine in this process; the server has its own")
    if providers and (files or server is not None or live):
        raise click.UsageError("--providers times the encoder alone: without files, --server and --live")
    config = _valid(_read(file, sets, model__name=model, model__threads=threads))
    if providers:
        from ears_edge.bench import providers as comparing  # noqa: PLC0415  # heavy

        return comparing.run(config, as_json=as_json)
    from ears_edge.bench import command  # noqa: PLC0415  # heavy

    return command.run(
        files, server=server, sessions=sessions, live=live, as_json=as_json, repeat=repeat, config=config
    )


@cli.command(short_help="Ask a running daemon whether it is well.")
@_with_settings
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=5.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def health(
    file: Path | None,
    sets: tuple[str, ...],
    timeout_s: float,
    as_json: bool,  # noqa: FBT001  # click's
) -> int:
    """Ask the daemon with these settings whether it, and its model, are well: exit status 0, else 1."""
    config = _valid(_read(file, sets))
    from ears_edge import health as asking  # noqa: PLC0415  # of no use to the other commands

    try:
        found = asking.check(config, timeout_s)
    except UnavailableError as exc:
        _complain(str(exc))
        return FAILED
    click.echo(to_json(found._asdict()) if as_json else found.text)
    return OK if found.well else FAILED


@cli.command()
def token() -> None:
    """Print a new token for eaRS listeners."""
    from ears_edge.tokens import new_token  # noqa: PLC0415  # of no use to the other commands

    click.echo(new_token())


@cli.group()
def models() -> None:
    """Fetch, check and remove models."""


@models.command("list", short_help="Print the models that have a name, and those that are here.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_with_settings
def models_list(as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Print the models that have a name, and all that were pulled."""
    config = _valid(_read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # of no use to the other commands

    return model_commands.list_models(config, as_json=as_json)


@models.command("info", short_help="Print all that is known of a model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_with_settings
def models_info(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Print all that is known of NAME: languages, licence, size, where it is, where it came from."""
    config = _valid(_read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.info(name, config, as_json=as_json)


@models.command("pull", short_help="Fetch a model, go on with a fetch, or mend what was fetched.")
@click.argument("name")
@click.option("--update", is_flag=True, help="Take the newest, not what the first pull took.")
@click.option("--float", "floats", is_flag=True, help="Also the float encoder, which some devices want.")
@click.option("--no-test", is_flag=True, help="Do not let it hear the test clip: for too little memory.")
@_with_settings
def models_pull(  # noqa: PLR0917  # click calls it by keywords
    name: str,
    update: bool,  # noqa: FBT001  # as above
    floats: bool,  # noqa: FBT001  # as above
    no_test: bool,  # noqa: FBT001  # as above
    file: Path | None,
    sets: tuple[str, ...],
) -> int:
    """Fetch NAME: a model of the list, or owner/repo[@revision] of the hub. What is here is checked."""
    config = _valid(_read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.pull(name, config, update=update, floats=floats, test=not no_test)


@models.command("use", short_help="Have the running daemon serve another model.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs: the status at each change, one a line.")
@_with_settings
def models_use(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Have the running daemon fetch, optimize, test and serve NAME; it goes on with what it has meanwhile."""
    config = _valid(_read(file, sets))
    from ears_edge import use_command  # noqa: PLC0415  # as above

    return use_command.run(name, config, as_json=as_json)


@models.command("verify", short_help="Compare a model's files with what was pulled.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_with_settings
def models_verify(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Compare every file of NAME with what the first pull recorded: exit status 0, or 69 if one differs."""
    config = _valid(_read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.verify(name, config, as_json=as_json)


@models.command("remove", short_help="Delete a pulled model.")
@click.argument("name")
@_with_settings
def models_remove(name: str, file: Path | None, sets: tuple[str, ...]) -> int:
    """Delete the pulled model NAME, or what a fetch that did not end left of it."""
    config = _valid(_read(file, sets))
    from ears_edge import model_commands  # noqa: PLC0415  # as above

    return model_commands.remove(name, config)


@models.command("optimize", short_help="Rewrite a model for this machine: faster, with the same words.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_with_settings
def models_optimize(name: str, as_json: bool, file: Path | None, sets: tuple[str, ...]) -> int:  # noqa: FBT001  # click's
    """Rewrite the encoder of NAME for this CPU; the model's own files stay as they are."""
    config = _valid(_read(file, sets))
    from ears_edge import optimize_command  # noqa: PLC0415  # as above

    return optimize_command.run(name, config, as_json=as_json)


@cli.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def config_check(file: Path | None) -> int:
    """Find mistakes in FILE (or the file in use) and the environment: exit status 0 or 78."""
    found = _read(file, ())
    _tell(found)
    if found.problems:
        return CONFIG
    click.echo(f"{_name(found.file) or 'no settings file: the defaults and the environment'}: all is well")
    return OK


@config_group.command("show")
@_with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def config_show(file: Path | None, sets: tuple[str, ...], as_json: bool) -> int:  # noqa: FBT001  # click's
    """Print every setting in effect and where it comes from; secrets stay hidden."""
    found = _read(file, sets)
    _valid(found)
    shown = found.shown()
    if as_json:
        values = {
            section: {
                key: {"value": value, "from": found.origins.get(f"{section}.{key}", "default")}
                for key, value in table.items()
            }
            for section, table in shown.items()
        }
        click.echo(to_json({"file": _name(found.file), "settings": values}))
        return OK
    for number, (section, table) in enumerate(shown.items()):
        click.echo(f"{'' if number == 0 else chr(10)}[{section}]")
        for key, value in table.items():
            origin = found.origins.get(f"{section}.{key}")
            click.echo(f"{key} = {to_json(value)}{f'  # {origin}' if origin else ''}")
    return OK
