"""Ctrl-C in commands that run an event loop: what was begun is cleaned up, and the end comes for certain."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

STATUS: Final = 130
"""Exit status, as if SIGINT had ended us."""
CLEAN_UP_S: Final = 1.0
"""What cleaning up may take. A thread that reads from a pipe, or decodes, would else be awaited."""


def run(main: Coroutine[Any, Any, T]) -> T:  # as asyncio.run has it
    """As `asyncio.run`; Ctrl-C cancels `main`, and after CLEAN_UP_S or another Ctrl-C ends the process.

    Raises:
        KeyboardInterrupt: There was a Ctrl-C, and all is cleaned up.
    """
    try:
        return asyncio.run(_guarded(main))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _guarded(main: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)

    def interrupt() -> None:
        loop.add_signal_handler(signal.SIGINT, os._exit, STATUS)
        late = threading.Timer(CLEAN_UP_S, os._exit, (STATUS,))
        late.daemon = True
        late.start()
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    return await task
