"""The eaRS WebSocket protocol: messages in, typed commands out; values in, JSON out. Sans-I/O.

One message is one WebSocket message. Type tags have no underscore where eaRS itself defines them
(`enginechanged`) and have one where its design plan adds them (`language_detected`).
Source: byteowlz/eaRS src/server.rs (handle_command, decode_audio_chunk), src/lib.rs (WebSocketMessage),
src/server/listener.rs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias, assert_never

import numpy as np

from ears_edge.audio.pcm import PcmFormat
from ears_edge.errors import PeerProtocolError
from ears_edge.events import Event, FinalText, FinalWords, Language, Pause, Segment, Word, join
from ears_edge.models.status import ModelStatus
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_json, to_typed
from ears_edge.units import seconds

ENGINE_NAME: Final = "parakeet"
"""What `enginechanged` and `status` call this engine."""

AUDIO: Final = PcmFormat(24_000, 4, 1, "float")
"""What a binary message holds."""

BLOCK_BYTES: Final = 48_000
"""Half a second: a long binary message is handed on in blocks of this size, so that no step is long."""

MAX_COMMAND_CHARS: Final = 65_536
"""Longest text message that is read. The longest real one holds a token."""

MAX_LANGUAGE_CHARS: Final = 35
"""Longest language tag that is looked at. Source: RFC 5646, section 4.4.1."""

_SAMPLE_BYTES: Final = 4
_ECHO_CHARS: Final = 40
"""How much of a client's own text an answer repeats."""


@dataclass(frozen=True, slots=True)
class Stop:
    """No more audio: send the final text, then close."""


@dataclass(frozen=True, slots=True)
class SetLanguage:
    """A hint as to what will be spoken."""

    lang: Annotated[str, Bounds(max_length=MAX_LANGUAGE_CHARS)]


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Answer `status`."""


@dataclass(frozen=True, slots=True)
class Restart:
    """End this session and begin another on the same socket."""


@dataclass(frozen=True, slots=True)
class SetEngine:
    """Ask for an engine by name."""

    engine: str


@dataclass(frozen=True, slots=True)
class PauseHearing:
    """`pause`: audio is not heard until `resume`."""


@dataclass(frozen=True, slots=True)
class ResumeHearing:
    """`resume`."""


@dataclass(frozen=True, slots=True)
class SetVadTimeout:
    """`setvadtimeout`: accepted for compatibility; eaRS itself does nothing with it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Authenticate:
    """A listener shows its token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListStreams:
    """A listener asks which streams there are."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A listener asks for one stream's messages."""

    stream_id: Annotated[int, Bounds(ge=0, le=2**63 - 1)]


ListenerCommand: TypeAlias = Authenticate | ListStreams | Subscribe
ActiveCommand: TypeAlias = (
    Stop | SetLanguage | GetStatus | Restart | SetEngine | PauseHearing | ResumeHearing | SetVadTimeout
)
Command: TypeAlias = ActiveCommand | ListenerCommand

_COMMANDS: Final[Mapping[str, type[Command]]] = {
    "stop": Stop,
    "setlanguage": SetLanguage,
    "getstatus": GetStatus,
    "restart": Restart,
    "setengine": SetEngine,
    "pause": PauseHearing,
    "resume": ResumeHearing,
    "setvadtimeout": SetVadTimeout,
    "authenticate": Authenticate,
    "liststreams": ListStreams,
    "subscribe": Subscribe,
}


def decode_command(text: str) -> Command:
    """A text message -> the command it holds. Unknown members are ignored.

    `stop` is also read bare, in quotes and in any case; every other type is case-sensitive.

    Raises:
        PeerProtocolError: Code `unknown-type` for an object with another `type`, `bad-message` for the rest.
    """
    if len(text) > MAX_COMMAND_CHARS:
        raise _bad(f"{len(text)} characters are too long for a command; at most {MAX_COMMAND_CHARS}")
    if text.strip().lower() in ("stop", '"stop"'):
        return Stop()
    try:
        members = parse_json_object(text.encode())
    except (ShapeError, UnicodeEncodeError) as exc:
        raise _bad("not a JSON object") from exc
    tag = members.get("type")
    if not isinstance(tag, str):
        raise _bad("no member 'type' that is a string")
    shape = _COMMANDS.get("stop" if tag.lower() == "stop" else tag)
    if shape is None:
        raise _bad(f"unknown type {tag[:_ECHO_CHARS]!r}", code="unknown-type")
    try:
        return to_typed(members, shape)
    except ShapeError as exc:
        raise _bad(f"{tag}: {exc}") from exc


def audio_blocks(message: bytes) -> Iterator[bytes]:
    """A binary message -> sound PCM of the format `AUDIO`, in blocks of at most `BLOCK_BYTES`.

    Non-finite samples become 0, the others are clamped to [-1, 1]. The 1 to 3 bytes of a ragged end are
    dropped, never carried into the next message; `ragged_bytes` counts them.
    """
    for start in range(0, len(message) - ragged_bytes(message), BLOCK_BYTES):
        count = min(BLOCK_BYTES, len(message) - start) // _SAMPLE_BYTES
        samples = np.frombuffer(message, "<f4", count, start)
        yield np.clip(np.where(np.isfinite(samples), samples, np.float32(0)), -1, 1).astype("<f4").tobytes()


def ragged_bytes(message: bytes) -> int:
    """How many bytes at the message's end make no whole sample: 0 to 3."""
    return len(message) % _SAMPLE_BYTES


def encode_event(event: Event, *, timestamps: bool, vad: bool, unix_time: float) -> Iterator[str]:
    """What the engine says -> messages, in the order in which they go out.

    Args:
        event: From the session.
        timestamps: Live words carry their end time. eaRS's own command line shows only those that do not.
        vad: Pauses are sent.
        unix_time: Now, in seconds; what a `pause` message carries.
    """
    match event:
        case FinalWords(words):
            for word in words:
                yield to_json({"type": "word"} | _word(word, with_end=timestamps))
        case Segment():
            yield to_json(
                {
                    "type": "segment",
                    "text": event.text,
                    "start_time": seconds(event.start),
                    "end_time": seconds(event.end),
                }
            )
        case Language(code, confidence):
            yield to_json(
                {
                    "type": "language_detected",
                    "lang": code,
                    "language": code,
                    "confidence": round(confidence, 3),
                }
            )
        case Pause():
            if vad:
                yield to_json({"type": "pause", "timestamp": unix_time})
        case FinalText(words):
            yield final(words)
        case _:
            assert_never(event)


def final(words: Iterable[Word]) -> str:
    """The session's last message: its text and all of its words, each with its end time."""
    heard = tuple(words)
    return to_json({"type": "final", "text": join(heard), "words": [_word(w, with_end=True) for w in heard]})


def engine_changed(engine: str = ENGINE_NAME) -> str:
    """A session begins, or an engine was asked for."""
    return to_json({"type": "enginechanged", "engine": engine})


def language_changed(lang: str) -> str:
    """The language hint was taken."""
    return to_json({"type": "languagechanged", "lang": lang})


def status(*, paused: bool, vad: bool, timestamps: bool, lang: str | None, model: ModelStatus) -> str:
    """`vad_timeout` is always null: no such timeout is in force. `model` and `loading` are ours.

    `loading` is null when the wanted model serves; else it tells how far it is, or why it does not.
    """
    settled = model.phase in {"ready", "unloaded"} and model.well
    return to_json(
        {
            "type": "status",
            "paused": paused,
            "vad": vad,
            "timestamps": timestamps,
            "vad_timeout": None,
            "lang": lang,
            "engine": ENGINE_NAME,
            "model": model.serving or model.wanted,
            "loading": None if settled else {"phase": model.phase, "done": model.done, "text": model.line()},
        }
    )


def authenticated() -> str:
    """The token is one of ours."""
    return to_json({"type": "authenticated", "success": True})


def streams(stream_ids: Iterable[int]) -> str:
    """Which streams there are, oldest first."""
    return to_json({"type": "streams", "stream_ids": sorted(stream_ids)})


def subscribed(stream_id: int) -> str:
    """From here on the listener gets this stream's messages."""
    return to_json({"type": "subscribed", "stream_id": stream_id})


def error(message: str, code: str) -> str:
    """An answer that says what went wrong. `code` is ours; eaRS's clients ignore members they do not know."""
    return to_json({"type": "error", "message": message, "code": code})


def _word(word: Word, *, with_end: bool) -> dict[str, object]:
    return {
        "word": word.text,
        "start_time": seconds(word.start),
        "end_time": seconds(word.end) if with_end else None,
        "confidence": round(word.confidence, 3),
    }


def _bad(problem: str, *, code: str = PeerProtocolError.default_code) -> PeerProtocolError:
    return PeerProtocolError(f"bad-message: {problem}", code=code)
