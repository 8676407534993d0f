"""Clients of both protocols: audio to a running server, its transcript back."""

from ears_edge.audio.files import AudioSource
from ears_edge.clients.ears import EarsClient
from ears_edge.clients.exchange import Pace, Progress, Said, fast
from ears_edge.clients.wyoming import WyomingClient
from ears_edge.transcript import Transcript
from ears_edge.uri import ServerAddress, WebSocketAddress


def ignore(_news: object) -> None:
    """A `Progress` and a `Said` for callers that want neither."""


async def transcribe(
    address: ServerAddress,
    source: AudioSource,
    *,
    language: str | None = None,
    pace: Pace = fast,
    progress: Progress = ignore,
    said: Said = ignore,
) -> Transcript:
    """Send one source to a running server.

    Args:
        address: Where, and over which protocol.
        source: Read once, from its start.
        language: Bare code of what is spoken, as a hint to the server.
        pace: `fast`, or `real_time()`.
        progress: Told how much was sent.
        said: Told the text as it comes, if the server sends it in pieces.

    Raises:
        ServerError: The server can't be reached, went away, hung, or answered with an error (its code).
        AudioFormatError: The source can't be read.
    """
    return await client(address, source, language).transcribe(pace, progress, said)


def client(address: ServerAddress, source: AudioSource, language: str | None) -> EarsClient | WyomingClient:
    """The client that speaks the address's protocol, for one source."""
    if isinstance(address, WebSocketAddress):
        return EarsClient(address, source, language)
    return WyomingClient(address, source, language)
