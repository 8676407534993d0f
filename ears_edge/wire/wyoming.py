"""Wyoming's speech-to-text events: frames -> typed requests, answers -> bytes. Sans-I/O.

Source: wyoming 1.10.2 (asr.py, audio.py, info.py, ping.py, error.py).
"""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Eventable
from wyoming.info import AsrModel, AsrProgram, Attribution, Info
from wyoming.ping import Pong

from ears_edge import __version__
from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import AudioFormatError, PeerProtocolError
from ears_edge.models.folder import ModelInfo
from ears_edge.models.status import ModelStatus
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed
from ears_edge.wire.wyoming_frames import Frame, encode

PROGRAM: Final = "ears-edge"
"""Name of the one program that `info` announces."""

STATUS: Final = "model_status"
"""Member of `info` that is ours; clients ignore those that they do not know."""

MAX_CONTEXT_DEPTH: Final = 32
"""A request's context is sent back with its answer, so it must nest no deeper than any encoder can write."""

Context: TypeAlias = dict[str, object]
Timestamp: TypeAlias = int | float | None
Number: TypeAlias = Annotated[int, Bounds(ge=-(2**31), le=2**31)]
"""Whether it makes sense is the audio format's part."""


@dataclass(frozen=True, slots=True)
class Describe:
    """Asks for `info`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectProgram:
    """Chooses among the programs that `info` names, for the whole connection."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribe:
    """Says how the next utterance is to be heard."""

    name: str | None = None
    """The model's."""
    language: str | None = None
    context: Context | None = None
    """The client's own; it stands in the answer as it came."""
    vad_sensitivity: str | None = None
    """`default`, `relaxed` or `aggressive`; anything else is as `default`."""
    transcript_names: tuple[str, ...] | None = None
    transcript_terms: tuple[str, ...] | None = None

    @property
    def words_to_expect(self) -> tuple[str, ...]:
        """Names, then terms: the protocol's order of importance. Blank ones are left out."""
        words = (*(self.transcript_names or ()), *(self.transcript_terms or ()))
        return tuple(word.strip() for word in words if word.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audio:
    rate: Number
    width: Number
    channels: Number
    timestamp: Timestamp = None

    def format(self) -> PcmFormat:
        """How to read the audio.

        Raises:
            AudioFormatError: There is no such audio.
        """
        try:
            return PcmFormat.wyoming(self.rate, self.width, self.channels)
        except AudioFormatError as exc:
            raise AudioFormatError(f"This audio can't be heard: {exc}.", code=exc.code) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStart(_Audio):
    """An utterance begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioChunk(_Audio):
    """A piece of the utterance's PCM; its own format counts, whatever `audio-start` said."""

    audio: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStop:
    """The utterance is over."""

    timestamp: Timestamp = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Asks for a `pong` with the same text."""

    text: str | None = None


Request: TypeAlias = Describe | SelectProgram | Transcribe | AudioStart | AudioChunk | AudioStop | Ping

_REQUESTS: Final[dict[str, type[Request]]] = {
    "describe": Describe,
    "select-program": SelectProgram,
    "transcribe": Transcribe,
    "audio-start": AudioStart,
    "audio-chunk": AudioChunk,
    "audio-stop": AudioStop,
    "ping": Ping,
}


def decode(frame: Frame) -> Request | None:
    """A frame -> the request it makes; None if it is of a type that this server has no answer to.

    Raises:
        PeerProtocolError: A member is missing, or not what the protocol says (`bad-event`). The stream of
            frames is sound all the same.
    """
    target = _REQUESTS.get(frame.type)
    if target is None:
        return None
    members = {**frame.data, "audio": frame.payload} if target is AudioChunk else frame.data
    try:
        request = to_typed(members, target)
    except ShapeError as exc:
        raise PeerProtocolError(f"The data of `{frame.type}` is wrong: {exc}.", code="bad-event") from exc
    if isinstance(request, Transcribe) and _depth_exceeds(request.context, MAX_CONTEXT_DEPTH):
        raise PeerProtocolError(
            f"The context of `transcribe` nests deeper than {MAX_CONTEXT_DEPTH} levels.", code="bad-event"
        )
    return request


def info(model: ModelInfo, status: ModelStatus) -> bytes:
    """`info`: one program with one model, the wanted one, with its languages also while it is on its way.

    Home Assistant takes the languages of installed models, once; so it says `installed` from the start. How
    it really stands is told by the description, and by a member of our own, `model_status`.
    """
    on_its_way = "" if status.phase == "ready" and status.well else status.line()
    program = AsrProgram(
        name=PROGRAM,
        attribution=Attribution(name="ears_edge contributors", url=""),
        installed=True,
        description="Streaming speech to text on this machine",
        version=__version__,
        models=[
            AsrModel(
                name=model.name,
                attribution=Attribution(name=model.attribution.name, url=model.attribution.url),
                installed=True,
                description="; ".join(filter(None, (model.description, on_its_way))),
                version=model.version,
                languages=list(model.languages),
            )
        ],
        supports_transcript_streaming=True,
        requires_external_vad=True,
    )
    event = Info(asr=[program]).event()
    return encode(Frame(event.type, {**event.data, STATUS: parse_json_object(to_json(status))}))


def transcript_start(language: str | None, context: Context | None) -> bytes:
    """`transcript-start`: pieces of text follow."""
    return _bytes(TranscriptStart(language=language, context=context))


def transcript_chunk(text: str) -> bytes:
    """`transcript-chunk`: a piece of text that follows on the pieces before."""
    return _bytes(TranscriptChunk(text=text))


def transcript(text: str, language: str | None, context: Context | None) -> bytes:
    """`transcript`: the whole text."""
    return _bytes(Transcript(text=text, language=language, context=context))


def transcript_stop() -> bytes:
    """`transcript-stop`: the answer is complete."""
    return _bytes(TranscriptStop())


def pong(text: str | None) -> bytes:
    """`pong`, with the text of the `ping`."""
    return _bytes(Pong(text=text))


def error(text: str, code: str) -> bytes:
    """`error`: prose for people, made a sentence, and a code for programs."""
    sentence = text[:1].upper() + text[1:].rstrip(".") + "."
    return _bytes(Error(text=sentence, code=code))


def _bytes(answer: Eventable) -> bytes:
    event = answer.event()
    return encode(Frame(event.type, event.data))


def _depth_exceeds(value: object, limit: int) -> bool:
    """Whether JSON values nest deeper than `limit`; goes level by level, so it never recurses."""
    level = [value]
    for _ in range(limit + 1):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return False
        level = deeper
    return True
