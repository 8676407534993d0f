"""What can be measured: the engine of this process, or a server elsewhere."""

import asyncio
from typing import Final

from ears_edge.bench.clips import Clip
from ears_edge.bench.measure import Answer, Ear
from ears_edge.clients import client
from ears_edge.clients.exchange import Pace
from ears_edge.engine.scheduler import Engine
from ears_edge.engine.session import SessionOptions
from ears_edge.engine.stream import Stream
from ears_edge.events import FinalText, FinalWords
from ears_edge.uri import ServerAddress

BLOCK_S: Final = 0.1
"""Audio given to the engine at once; clients send between 10 and 100 ms."""


class EngineTarget:
    """Each run is a session of the engine."""

    def __init__(self, engine: Engine, *, live_words: bool) -> None:
        self._engine = engine
        self._options = SessionOptions(live_words=live_words)

    async def hear(self, clip: Clip, pace: Pace, ear: Ear) -> Answer:
        """See `Target`."""
        stream = self._engine.open(self._options)
        feeder = asyncio.create_task(_feed(stream, clip, pace, ear))
        answer = Answer("", ())
        try:
            async for event in stream.events():
                match event:
                    case FinalWords(words):
                        ear.said(len(words))
                    case FinalText(words):
                        answer = Answer(event.text, [word.end for word in words])
        finally:
            # Done, unless the session ended before it had heard all. Its error, if any, `events` raised too.
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)
            await stream.close()
        return answer


async def _feed(stream: Stream, clip: Clip, pace: Pace, ear: Ear) -> None:
    taken_s = 0.0
    for block in clip.blocks(BLOCK_S):
        taken_s += clip.fmt.seconds(len(block))
        await pace(taken_s)
        await stream.feed(block, clip.fmt)
        ear.sent(taken_s)
    await stream.finish()


class ServerTarget:
    """Each run is a connection to a server, over the protocol of its address."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address

    async def hear(self, clip: Clip, pace: Pace, ear: Ear) -> Answer:
        """See `Target`."""
        asking = client(self._address, _Source(clip), None)
        transcript = await asking.transcribe(pace, ear.sent, lambda piece: ear.said(len(piece.split())))
        segments = transcript.segments
        ends = None if segments is None else [word.end for segment in segments for word in segment.words]
        return Answer(transcript.text, ends)


class _Source:
    """A clip as an `AudioSource`."""

    damage: str | None = None

    def __init__(self, clip: Clip) -> None:
        self.name = clip.name
        self.fmt = clip.fmt
        self.duration_s: float | None = clip.seconds
        self.blocks = clip.blocks
