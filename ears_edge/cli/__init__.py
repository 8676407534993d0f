"""The command line: flags in, one call of the part that does the work, exit statuses out.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 69 the model can't be used, 75 a port or the PID file is
taken, 78 the settings have mistakes. Source: sysexits.h. The only folder that imports click.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TextIO

import click

from ears_edge import __version__
from ears_edge.cli.flags import CONFIG, complain, path_text, read, tell, valid, with_settings
from ears_edge.cli.models import models
from ears_edge.errors import ConfigError, EarsEdgeError, ModelError, UnavailableError
from ears_edge.typed import to_json

OK: Final = 0
FAILED: Final = 1
MODEL: Final = 69
UNAVAILABLE: Final = 75
INTERRUPTED: Final = 130
"""As if SIGINT had ended us."""


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
        complain(str(exc))
        return _status(exc)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except OSError as exc:
        _give_up_on(sys.stdout)
        if not isinstance(exc, BrokenPipeError):  # nobody reads any further, as after `| head`
            complain(f"can't go on: {exc.strerror or exc}")
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="ears-edge %(version)s")
def cli() -> None:
    """Speech to text for the LAN: a daemon for Wyoming and eaRS clients, and its tools."""


cli.add_command(models)


@cli.command()
@with_settings
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
    reread = partial(
        read,
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
    config = valid(reread())
    from ears_edge import daemon  # noqa: PLC0415  # heavy, and of no use to the other commands

    return daemon.run(config, reread=reread)


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
@with_settings
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
    config = valid(read(file, sets, model__name=model, model__threads=threads))
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
@with_settings
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
    config = valid(read(file, sets, model__name=model, model__threads=threads))
    if providers:
        from ears_edge.bench import providers as comparing  # noqa: PLC0415  # heavy

        return comparing.run(config, as_json=as_json)
    from ears_edge.bench import command  # noqa: PLC0415  # heavy

    return command.run(
        files, server=server, sessions=sessions, live=live, as_json=as_json, repeat=repeat, config=config
    )


@cli.command(short_help="Ask a running daemon whether it is well.")
@with_settings
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=5.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def health(
    file: Path | None,
    sets: tuple[str, ...],
    timeout_s: float,
    as_json: bool,  # noqa: FBT001  # click's
) -> int:
    """Ask the daemon with these settings whether it, and its model, are well: exit status 0, else 1."""
    config = valid(read(file, sets))
    from ears_edge import health as asking  # noqa: PLC0415  # of no use to the other commands

    try:
        found = asking.check(config, timeout_s)
    except UnavailableError as exc:
        complain(str(exc))
        return FAILED
    click.echo(to_json(found._asdict()) if as_json else found.text)
    return OK if found.well else FAILED


@cli.command()
def token() -> None:
    """Print a new token for eaRS listeners."""
    from ears_edge.tokens import new_token  # noqa: PLC0415  # of no use to the other commands

    click.echo(new_token())


@cli.group("config")
def config_group() -> None:
    """Look at the settings."""


@config_group.command("check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def config_check(file: Path | None) -> int:
    """Find mistakes in FILE (or the file in use) and the environment: exit status 0 or 78."""
    found = read(file, ())
    tell(found)
    if found.problems:
        return CONFIG
    click.echo(
        f"{path_text(found.file) or 'no settings file: the defaults and the environment'}: all is well"
    )
    return OK


@config_group.command("show")
@with_settings
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def config_show(file: Path | None, sets: tuple[str, ...], as_json: bool) -> int:  # noqa: FBT001  # click's
    """Print every setting in effect and where it comes from; secrets stay hidden."""
    found = read(file, sets)
    valid(found)
    shown = found.shown()
    if as_json:
        values = {
            section: {
                key: {"value": value, "from": found.origins.get(f"{section}.{key}", "default")}
                for key, value in table.items()
            }
            for section, table in shown.items()
        }
        click.echo(to_json({"file": path_text(found.file), "settings": values}))
        return OK
    for number, (section, table) in enumerate(shown.items()):
        click.echo(f"{'' if number == 0 else chr(10)}[{section}]")
        for key, value in table.items():
            origin = found.origins.get(f"{section}.{key}")
            click.echo(f"{key} = {to_json(value)}{f'  # {origin}' if origin else ''}")
    return OK
