"""The real engine around a fake recognizer, for those tests that name it."""

from collections.abc import AsyncIterator

import pytest

from ears_edge.config import EngineConfig
from ears_edge.engine.scheduler import Engine
from tests.fakes import FakeRecognizer, fake_engine


@pytest.fixture
def recognizer() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture
async def engine(recognizer: FakeRecognizer) -> AsyncIterator[Engine]:
    async with fake_engine(recognizer, EngineConfig(max_sessions=2)) as engine:
        yield engine
        # Should a test fail while it holds a decode up, the engine must be able to end.
        recognizer.gate.set()
