"""`ears-edge transcribe`: audio files to text, by an engine in this process or by a running server."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from ears_edge import clients, interrupt, subtitles
from ears_edge.audio.files import STDIN, STDIN_NAME, AudioSource, open_audio
from ears_edge.clients.exchange import Exchange, Pace, Progress, Said, fast, paced, real_time
from ears_edge.config import Config
from ears_edge.engine import loading
from ears_edge.engine.recognizer import Recognizer
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.engine.stream import Stream
from ears_edge.errors import EarsEdgeError, InferenceError, UnsupportedError
from ears_edge.events import FinalText, FinalWords, Segment, join
from ears_edge.terminal import console, plain, printable, progress
from ears_edge.transcript import Transcript, error_line, json_line
from ears_edge.uri import ServerAddress, WebSocketAddress, server_address

Output: TypeAlias = Literal["text", "json", "srt", "vtt"]
Listen: TypeAlias = Callable[[AudioSource, Pace, Progress, Said], Awaitable[Transcript]]
"""Turns one source into its transcript."""

LONG_S: Final = 20.0
"""Files from this length on, and those of unknown length, get a progress bar."""
_NO_LIMIT_S: Final = 1_000_000.0
"""`engine.max_session_s` is for clients; whoever names a file wants all of it."""


def run(
    files: Sequence[str],
    *,
    output: Output,
    server: str | None,
    live: bool,
    language: str | None,
    config: Config,
) -> int:
    """Transcribe each file, print on standard output, return the exit status: 1 if a file failed, else 0.

    What is wrong with a file is told on standard error (and, as JSON, in its line too); the others are done
    all the same. Of a damaged file the text of its sound part is printed, and it counts as failed.

    Args:
        files: Paths; `-` is standard input.
        output: Plain text (with the file's name in front if there are several), one JSON object a line, or
            the subtitles of one file.
        server: URI of a running server; None for an engine in this process.
        live: At the pace of speech, printing words as they come.
        language: Bare code of what is spoken; None if not known.
        config: `model` and `engine` are used, if there is no server.

    Raises:
        ConfigError: `server` is no address.
        UnsupportedError: Subtitles of several files, or over Wyoming; or the model has not that language.
        ModelError: The model can't be used.
    """
    address = None if server is None else server_address(server)
    if output in ("srt", "vtt"):
        _check_subtitles(files, address)
    recognizer = None if address else loading.load(config)
    if recognizer is not None:
        language = recognizer.info.language(language)
    job = _Job(output=output, live=live, prefix=len(files) > 1)
    return interrupt.run(_run(files, job, _listener(address, recognizer, config, language, live=live)))


def _check_subtitles(files: Sequence[str], address: ServerAddress | None) -> None:
    if len(files) > 1:
        raise UnsupportedError("subtitles are printed for one file at a time; name one file")
    if address is not None and not isinstance(address, WebSocketAddress):
        raise UnsupportedError(
            f"{address}: Wyoming tells no word times, so there can be no subtitles; "
            "ask the eaRS server (ws://HOST:8765), or leave out --server"
        )


@asynccontextmanager
async def _listener(
    address: ServerAddress | None,
    recognizer: Recognizer | None,
    config: Config,
    language: str | None,
    *,
    live: bool,
) -> AsyncIterator[Listen]:
    if address is not None:

        async def ask(source: AudioSource, pace: Pace, done: Progress, said: Said) -> Transcript:
            return await clients.transcribe(
                address, source, language=language, pace=pace, progress=done, said=said
            )

        yield ask
    elif recognizer is not None:
        async with Engine(recognizer, replace(config.engine, max_session_s=_NO_LIMIT_S)) as engine:
            yield InProcess(engine, SessionOptions(live_words=live, language=language)).transcribe


class InProcess:
    """Transcribes with an engine in this process."""

    def __init__(self, engine: Engine, options: SessionOptions) -> None:
        self._engine = engine
        self._options = options

    async def transcribe(self, source: AudioSource, pace: Pace, done: Progress, said: Said) -> Transcript:
        """Hear one source.

        Raises:
            EarsEdgeError: The source can't be read, no slot is free, or the model failed.
        """
        stream = self._engine.open(self._options)
        try:
            exchange = Exchange("the engine", answer_timeout_s=None)
            return await exchange.run(_feed(stream, source, pace, done), _hear(stream, said))
        finally:
            await stream.close()


async def _feed(stream: Stream, source: AudioSource, pace: Pace, done: Progress) -> None:
    async for block in paced(source, pace, done):
        await stream.feed(block, source.fmt)
    await stream.finish()


async def _hear(stream: Stream, said: Said) -> Transcript:
    segments: list[Segment] = []
    blank = ""
    async for event in stream.events():
        match event:
            case FinalWords(words):
                said(blank + join(words))
                blank = " "
            case Segment():
                segments.append(event)
            case FinalText():
                return Transcript.of(event, segments)
            case _:
                pass
    raise InferenceError("the engine has stopped before the transcript was complete")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """How each file is done."""

    output: Output
    live: bool
    prefix: bool

    @property
    def echo(self) -> bool:
        """Whether words are printed as they come."""
        return self.live and self.output == "text"


async def _run(files: Sequence[str], job: _Job, listener: AbstractAsyncContextManager[Listen]) -> int:
    failed = False
    async with listener as transcribe:
        for file in files:
            try:
                damage = await _one(file, job, transcribe)
            except EarsEdgeError as exc:
                failed = True
                name = STDIN_NAME if file == STDIN else file
                _complain(str(exc) if str(exc).startswith(name) else f"{name}: {exc}")
                if job.output == "json":
                    _print(error_line(_as_text(file), _as_text(str(exc)), exc.code) + "\n")
            else:
                if damage:
                    failed = True
                    _complain(damage)
    return int(failed)


async def _one(file: str, job: _Job, transcribe: Listen) -> str | None:
    """Transcribe and print one file; returns what is wrong with it, if only a part could be read."""
    with ExitStack() as stack:
        # A pipe may keep us waiting for its first bytes.
        source = await asyncio.to_thread(stack.enter_context, open_audio(file))
        head = f"{printable(' '.join(file.splitlines()))}: " if job.prefix and job.output == "text" else ""
        echo = _Echo(head) if job.echo else None
        hidden = echo is not None or (source.duration_s is not None and source.duration_s < LONG_S)
        bar = nullcontext(clients.ignore) if hidden else progress(printable(file), source.duration_s)
        with bar as done:
            pace = real_time() if job.live else fast
            transcript = await transcribe(source, pace, done, echo.say if echo else clients.ignore)
        if echo:
            echo.end(transcript.text)
        else:
            _print(_shown(_as_text(file), head, job.output, transcript))
        return source.damage


def _shown(file: str, head: str, output: Output, transcript: Transcript) -> str:
    match output:
        case "text":
            return f"{head}{transcript.text}\n"
        case "json":
            return json_line(file, transcript) + "\n"
        case "srt":
            return subtitles.srt(transcript.segments or ())
        case "vtt":
            return subtitles.vtt(transcript.segments or ())


class _Echo:
    """Prints a text as it comes."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._begun = False

    def say(self, piece: str) -> None:
        _print(piece if self._begun else self._head + piece)
        self._begun = True

    def end(self, text: str) -> None:
        _print("\n" if self._begun else f"{self._head}{text}\n")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    console().say(plain(f"ears-edge: {' '.join(text.splitlines())}"))


def _as_text(text: str) -> str:
    """Text with a file's name in it, which need not be UTF-8 on the disk, but must be in JSON."""
    return text.encode(errors="surrogateescape").decode(errors="replace")
