"""The daemon's side of `preparing`: starts the child, follows its reports, ends it."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ears_edge.engine.preparing import Order, Report
from ears_edge.errors import ModelError, UnavailableError
from ears_edge.typed import ShapeError, parse_json_object, to_json, to_typed

MODULE: Final = "ears_edge.engine.preparing"
MAX_LINE_BYTES: Final = 65_536
ENDS: Final = frozenset({"ready", "failed"})
"""Phases of a last report."""

logger = logging.getLogger(__name__)


async def prepare(order: Order, told: Callable[[Report], None]) -> None:
    """Have a model ready on this machine. If the caller is cancelled, so is what is being done.

    Args:
        order: What to do; its token goes through a pipe, where no other user sees it.
        told: Takes each report but the last.

    Raises:
        UnavailableError: It can't be done now; later it may.
        ModelError: The model can't be had.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            MODULE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
        )
    except OSError as exc:  # a limit of memory or of processes, as containers have them
        raise UnavailableError(
            f"the process that prepares {order.name} can't be started: {exc.strerror or exc}"
        ) from exc
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("asyncio gives pipes where they are asked for")
    last: Report | None = None
    try:
        with suppress(ConnectionError):  # it has ended already; its status tells
            child.stdin.write(to_json(order).encode() + b"\n")
            await child.stdin.drain()
        while line := await child.stdout.readline():
            last = to_typed(parse_json_object(line), Report)
            if last.phase not in ENDS:
                told(last)
        status = await child.wait()
    except (ShapeError, ValueError) as exc:
        raise UnavailableError(f"the process that prepares {order.name} talks nonsense: {exc}") from exc
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if last is None or last.phase not in ENDS:
        raise UnavailableError(
            f"the process that prepares {order.name} has ended (status {status}); is there enough memory?"
        )
    if last.phase == "failed":
        kind = UnavailableError if last.later else ModelError
        raise kind(last.fault, code=last.code)
