"""Guards that hold for every test: nothing blocks the event loop, no thread is left behind."""

import threading
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture(autouse=True)
def loop_never_blocks() -> Iterator[None]:
    """Any blocking call that our code makes inside the event loop fails the test that made it."""
    with blockbuster_ctx("ears_edge"):
        yield


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Threads, inference workers included, end with the test."""
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left
