"""The client's side of Wyoming's speech to text: requests -> bytes, frames -> answers. Sans-I/O.

Source: wyoming 1.10.2 (asr.py, audio.py, error.py).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from wyoming.asr import Transcribe
from wyoming.audio import AudioStart, AudioStop
from wyoming.event import Eventable

from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import PeerProtocolError
from ears_edge.typed import ShapeError, to_typed
from ears_edge.wire.wyoming_frames import Frame, FrameReader, encode

MAX_HEADER_BYTES: Final = 1_048_576
MAX_DATA_BYTES: Final = 67_108_864
"""Some days of transcript."""
MAX_PAYLOAD_BYTES: Final = 1_048_576
"""No answer that is wanted has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The whole text; nothing that is wanted comes after it."""

    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptChunk:
    """A piece of the text that follows on the pieces before."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The server gives up on the utterance."""

    text: str
    code: str | None = None


Answer: TypeAlias = Transcript | TranscriptChunk | Error

_ANSWERS: Final[dict[str, type[Answer]]] = {
    "transcript": Transcript,
    "transcript-chunk": TranscriptChunk,
    "error": Error,
}


def reader() -> FrameReader:
    """A reader of a server's frames, with limits for what answers hold."""
    return FrameReader(
        max_header_bytes=MAX_HEADER_BYTES, max_data_bytes=MAX_DATA_BYTES, max_payload_bytes=MAX_PAYLOAD_BYTES
    )


def decode_answer(frame: Frame) -> Answer | None:
    """A frame -> what it answers; None if it is of a type that this client does not need.

    Raises:
        PeerProtocolError: A member is missing, or not what the protocol says (`bad-event`).
    """
    target = _ANSWERS.get(frame.type)
    if target is None:
        return None
    try:
        return to_typed(frame.data, target)
    except ShapeError as exc:
        raise PeerProtocolError(f"the data of `{frame.type}` is wrong: {exc}", code="bad-event") from exc


def begin(fmt: PcmFormat, language: str | None) -> bytes:
    """`transcribe` and `audio-start`: an utterance of signed PCM begins."""
    start = AudioStart(rate=fmt.rate, width=fmt.width, channels=fmt.channels)
    return _bytes(Transcribe(language=language)) + _bytes(start)


def audio_chunk(pcm: bytes, fmt: PcmFormat) -> bytes:
    """`audio-chunk`: whole sample frames of the utterance."""
    data: dict[str, object] = {"rate": fmt.rate, "width": fmt.width, "channels": fmt.channels}
    return encode(Frame("audio-chunk", data, pcm))


def audio_stop() -> bytes:
    """`audio-stop`: the utterance is over."""
    return _bytes(AudioStop())


def _bytes(request: Eventable) -> bytes:
    event = request.event()
    return encode(Frame(event.type, event.data))
