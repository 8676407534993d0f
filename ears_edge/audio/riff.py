"""A RIFF/WAVE header in front of a stream of PCM: read, so that it is not heard. Sans-I/O.

Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE); mmreg.h for
WAVE_FORMAT_EXTENSIBLE and its KSDATAFORMAT_SUBTYPE codes.
"""

import struct
from enum import Enum, auto
from typing import Final

from ears_edge.audio.pcm import Encoding, PcmFormat
from ears_edge.errors import AudioFormatError

MAX_HEADER_BYTES: Final = 1_048_576
"""What may stand before the sound: room for tags and cover pictures, not for a chunk of gigabytes."""
MAX_FMT_BYTES: Final = 1_024
"""Longest `fmt ` chunk; the longest in use has 40 bytes."""

_INTRO_BYTES: Final = 12
_CHUNK_BYTES: Final = 8
_FMT_BYTES: Final = 16
_EXTENSIBLE_BYTES: Final = 40
_EXTENSIBLE: Final = 0xFFFE
_SUBTYPE_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_CODECS: Final[dict[int, Encoding]] = {1: "signed", 3: "float"}
_UNTIL_END: Final = (0, 0xFFFF_FFFF)
"""Sizes that writers leave in `data` when they can't go back to mend them."""


class _State(Enum):
    INTRO = auto()
    CHUNK = auto()
    FMT = auto()
    SKIP = auto()
    DATA = auto()
    PLAIN = auto()
    AFTER = auto()


class RiffReader:
    """Takes a stream byte by byte or in any pieces, and hands on what is sound.

    A stream that does not start with `RIFF….WAVE` is handed on untouched. Of one that does, only the bytes of
    its first `data` chunk are: nothing that stands before or behind.
    """

    def __init__(self) -> None:
        self.fmt: PcmFormat | None = None
        """The header's format, known before the first byte of its sound; None without a header."""
        self._state = _State.INTRO
        self._held = bytearray()
        self._left: int | None = 0
        """Bytes of the present chunk still to come; None means until the end."""
        self._passed = 0
        """Bytes of the header so far."""

    @property
    def undecided(self) -> bool:
        """True while too few bytes have come to tell a header from sound."""
        return self._state is _State.INTRO

    @property
    def settled(self) -> bool:
        """True once the header, if there is one, is behind: no error can come any more."""
        return self._state in (_State.PLAIN, _State.DATA, _State.AFTER)

    def feed(self, piece: bytes) -> bytes:
        """Any bytes -> those of them (and of those held back before) that are sound.

        Raises:
            AudioFormatError: The header is broken, or tells of a format that can't be read. Whatever is fed
                after that raises or is lost: the stream is over.
        """
        if self._state is _State.PLAIN or not piece:
            return piece
        self._held += piece
        while self._step():
            pass
        return self._take_sound()

    def give_up(self) -> bytes:
        """Take what was held back while undecided as sound, and everything after it too."""
        self._state = _State.PLAIN
        return self._take_sound()

    def finish(self) -> bytes:
        """The end of the stream -> the last bytes of sound.

        Raises:
            AudioFormatError: The stream ended inside the header.
        """
        if self.undecided:
            return self.give_up()
        if not self.settled:
            raise AudioFormatError("the WAV header ends before its `data` chunk")
        return b""

    def _step(self) -> bool:
        """Do one thing with the bytes held; False when more are needed."""
        match self._state:
            case _State.INTRO:
                return self._intro()
            case _State.CHUNK:
                return self._chunk()
            case _State.FMT:
                return self._fmt()
            case _State.SKIP:
                return self._skip()
            case _State.DATA | _State.PLAIN | _State.AFTER:
                return False

    def _intro(self) -> bool:
        head = bytes(self._held[:_INTRO_BYTES])
        if not (b"RIFF".startswith(head[:4]) and b"WAVE".startswith(head[8:])):
            self._state = _State.PLAIN
            return False
        if len(head) < _INTRO_BYTES:
            return False
        self._drop(_INTRO_BYTES)
        self._state = _State.CHUNK
        return True

    def _chunk(self) -> bool:
        if len(self._held) < _CHUNK_BYTES:
            return False
        name, size = struct.unpack_from("<4sI", self._held)
        self._drop(_CHUNK_BYTES)
        if name == b"data":
            if self.fmt is None:
                raise AudioFormatError("the WAV header has its `data` chunk before its `fmt ` chunk")
            self._state, self._left = _State.DATA, None if size in _UNTIL_END else size
            return False
        padded = size + size % 2
        if self._passed + padded > MAX_HEADER_BYTES:
            raise AudioFormatError(f"the WAV header is longer than {MAX_HEADER_BYTES} bytes")
        if name == b"fmt " and not _FMT_BYTES <= size <= MAX_FMT_BYTES:
            raise AudioFormatError(f"the WAV header's `fmt ` chunk has {size} bytes")
        self._state, self._left = _State.FMT if name == b"fmt " else _State.SKIP, padded
        return True

    def _fmt(self) -> bool:
        size = self._left or 0
        if len(self._held) < size:
            return False
        self.fmt = parse_fmt(bytes(self._held[:size]))
        self._drop(size)
        self._state = _State.CHUNK
        return True

    def _skip(self) -> bool:
        size = min(self._left or 0, len(self._held))
        self._left = (self._left or 0) - size
        self._drop(size)
        if self._left:
            return False
        self._state = _State.CHUNK
        return True

    def _drop(self, size: int) -> None:
        del self._held[:size]
        self._passed += size

    def _take_sound(self) -> bytes:
        if self._state is _State.AFTER:
            self._held.clear()
        if self._state not in (_State.DATA, _State.PLAIN):
            return b""
        sound = bytes(self._held)
        self._held.clear()
        if self._state is _State.DATA and self._left is not None:
            sound = sound[: self._left]
            self._left -= len(sound)
            if not self._left:
                self._state = _State.AFTER
        return sound


def parse_fmt(chunk: bytes) -> PcmFormat:
    """The content of a `fmt ` chunk, 16 bytes or more -> the format it tells of.

    Raises:
        AudioFormatError: The codec is not plain PCM, or the numbers contradict one another.
    """
    codec, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if codec == _EXTENSIBLE:
        if len(chunk) < _EXTENSIBLE_BYTES:
            raise AudioFormatError("the WAV header says `extensible`, but its extension is missing")
        codec = int.from_bytes(chunk[24:26], "little") if chunk[26:40] == _SUBTYPE_TAIL else _EXTENSIBLE
    if codec not in _CODECS:
        raise AudioFormatError(
            f"the WAV file's codec is number {codec:#06x}; only PCM (1) and float (3) can be read"
        )
    if not channels or frame_bytes % channels or not 0 < bits <= frame_bytes // channels * 8:
        raise AudioFormatError(
            f"the WAV header contradicts itself: {channels} channels of {bits} bits in {frame_bytes} bytes"
        )
    return PcmFormat(rate, frame_bytes // channels, channels, _CODECS[codec])
