"""What the engine says without a server."""

from ears_edge.audio.pcm import PcmFormat
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.events import FinalText


async def heard(engine: Engine, pcm: bytes, fmt: PcmFormat) -> str:
    """The text of one whole utterance; never empty."""
    stream = engine.open(SessionOptions())
    try:
        await stream.feed(pcm, fmt)
        await stream.finish()
        async for event in stream.events():
            if isinstance(event, FinalText):
                assert event.text
                return event.text
    finally:
        await stream.close()
    raise AssertionError("no final text")
