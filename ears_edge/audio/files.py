"""Audio files as streams of PCM blocks, never held whole. The only module that imports soundfile.

A pipe (standard input, or a path that is no regular file) is read as it comes if it carries a WAV stream;
any other format is gathered first, because its decoder has to seek.
"""

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import soundfile

from ears_edge.audio.pcm import PcmFormat
from ears_edge.audio.riff import RiffReader
from ears_edge.errors import AudioFormatError

STDIN: Final = "-"
"""The path that means standard input."""
STDIN_NAME: Final = "standard input"

MAX_PIPED_BYTES: Final = 268_435_456
"""A compressed file that comes through a pipe is held in memory: at most 256 MiB, some days of speech."""

READABLE: Final = "wav, flac, ogg (Vorbis, Opus) and mp3 files are read"

_SHORTFALL_S: Final = 0.5
"""Fewer samples than the file had promised, by more than this: an mp3 header's count is an estimate."""

_SIXTEEN_BITS: Final = frozenset({"PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"})
"""Subtypes that 16 bits hold without loss; all others are read as float32."""

_PIECE_BYTES: Final = 4_096
"""Read at once until a pipe's format is known: small, so that a live stream does not wait for long."""


class AudioSource(Protocol):
    """Audio that can be read once, from its start to its end."""

    name: str
    """For messages."""
    fmt: PcmFormat
    duration_s: float | None
    """Seconds, as the file's header has it; None when nobody knows (a pipe)."""
    damage: str | None
    """Set once all blocks were read: what is wrong with a file that could be read in part only."""

    def blocks(self, seconds: float) -> Iterator[bytes]:
        """The audio as PCM of `fmt`: whole sample frames, no more than about `seconds` a block."""
        ...


@contextmanager
def open_audio(name: str, *, stdin: BinaryIO | None = None) -> Iterator[AudioSource]:
    """Open a file, or standard input if `name` is `-` (`stdin` stands in for it in tests).

    Raises:
        AudioFormatError: Code `file-not-found`, `file-unreadable` or `bad-file`; the text names the file.
    """
    if name == STDIN:
        with _from_pipe(STDIN_NAME, stdin or sys.stdin.buffer) as source:
            yield source
        return
    path = Path(name)
    with _readable(path) as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if not status.st_size:
                raise _bad(name, "is empty")
            with _decoder(name, file.fileno()) as decoder:
                yield _File(name, decoder)
        else:
            with _from_pipe(name, file) as source:
                yield source


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is only read on and on."""

    def seekable(self) -> bool:
        # Of a seekable file soundfile would, after every read, seek to where it already is. In mp3 that
        # throws away the bits that frames borrow from those before: each block would start with a click.
        return False


class _File:
    """What libsndfile reads."""

    def __init__(self, name: str, decoder: _Decoder) -> None:
        self.name = name
        self.damage: str | None = None
        self._decoder = decoder
        self._dtype = "int16" if decoder.subtype in _SIXTEEN_BITS else "float32"
        try:
            self.fmt = (
                PcmFormat(decoder.samplerate, 2, decoder.channels)
                if self._dtype == "int16"
                else PcmFormat(decoder.samplerate, 4, decoder.channels, "float")
            )
        except AudioFormatError as exc:
            raise _bad(name, f"has {exc}") from exc
        self._frames: int = decoder.frames
        self.duration_s: float | None = self._frames / self.fmt.rate

    def blocks(self, seconds: float) -> Iterator[bytes]:
        buffer = bytearray(self.fmt.block_bytes(seconds))
        done = 0
        reason = ""
        while True:
            try:
                frames: int = self._decoder.buffer_read_into(buffer, self._dtype)
            except soundfile.LibsndfileError as exc:
                frames, reason = 0, f" ({_reason(exc)})"
            if not frames:
                break
            done += frames
            yield bytes(buffer[: frames * self.fmt.frame_bytes])
        if reason or self._frames - done > _SHORTFALL_S * self.fmt.rate:
            self.damage = (
                f"{self.name}: breaks off at {done / self.fmt.rate:.1f} s of "
                f"{self._frames / self.fmt.rate:.1f} s{reason}: the file is truncated or damaged"
            )


class _WavPipe:
    """A WAV stream whose end nobody knows yet, read as it comes."""

    duration_s: float | None = None

    def __init__(self, name: str, pipe: BinaryIO, reader: RiffReader, fmt: PcmFormat, sound: bytes) -> None:
        self.name = name
        self.fmt = fmt
        self.damage: str | None = None
        self._pipe = pipe
        self._reader = reader
        self._sound = sound

    def blocks(self, seconds: float) -> Iterator[bytes]:
        size = self.fmt.block_bytes(seconds)
        held = self._sound
        while True:
            whole = len(held) - len(held) % self.fmt.frame_bytes
            for at in range(0, whole, size):
                yield held[at : min(at + size, whole)]
            piece = self._pipe.read(size)
            if not piece:
                break
            held = held[whole:] + self._reader.feed(piece)


@contextmanager
def _from_pipe(name: str, pipe: BinaryIO) -> Iterator[AudioSource]:
    if pipe.isatty():
        raise AudioFormatError(
            f"{name} is a terminal; pipe audio into it, or name a file", code="file-unreadable"
        )
    reader = RiffReader()
    sound = b""
    try:
        while not reader.settled:
            piece = pipe.read(_PIECE_BYTES)
            sound += reader.feed(piece) if piece else reader.finish()
            if not piece:
                break
    except AudioFormatError as exc:
        raise _bad(name, f"can't be read: {exc}") from exc
    if reader.fmt is not None:
        yield _WavPipe(name, pipe, reader, reader.fmt, sound)
        return
    if not sound:
        raise _bad(name, "is empty")
    sound += pipe.read(MAX_PIPED_BYTES)
    if len(sound) > MAX_PIPED_BYTES:
        raise _bad(name, f"brings more than {MAX_PIPED_BYTES >> 20} MiB; save it as a file, or send WAV")
    with _decoder(name, io.BytesIO(sound)) as decoder:
        yield _File(name, decoder)


@contextmanager
def _readable(path: Path) -> Iterator[io.BufferedReader]:
    try:
        file = path.open("rb")
    except FileNotFoundError as exc:
        raise AudioFormatError(f"{path}: there is no such file", code="file-not-found") from exc
    except IsADirectoryError as exc:
        raise AudioFormatError(f"{path}: is a folder; name the files in it", code="file-unreadable") from exc
    except (OSError, ValueError) as exc:
        raise AudioFormatError(f"{path}: can't be opened: {exc}", code="file-unreadable") from exc
    with file:
        yield file


@contextmanager
def _decoder(name: str, file: int | io.BytesIO) -> Iterator[_Decoder]:
    """By descriptor, not by path: libsndfile wants paths in UTF-8, and a file's name may be anything."""
    try:
        decoder = _Decoder(file, closefd=False)
    except soundfile.LibsndfileError as exc:
        raise _bad(name, f"can't be read as audio ({_reason(exc)})") from exc
    with decoder:
        yield decoder


def _reason(exc: soundfile.LibsndfileError) -> str:
    """What libsndfile says, without its prefix and full stop."""
    return str(exc.error_string).removeprefix("Error : ").rstrip(".")


def _bad(name: str, problem: str) -> AudioFormatError:
    return AudioFormatError(f"{name}: {problem}; {READABLE}", code="bad-file")
