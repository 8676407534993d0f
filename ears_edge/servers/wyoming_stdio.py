"""Standard input and output, or two other descriptors, as one connection's channel."""

import asyncio
import contextlib
import os
import stat
from typing import BinaryIO

from ears_edge.errors import ConfigError
from ears_edge.servers.wyoming_channel import READ_BYTES, Channel
from ears_edge.uri import LISTEN_KEY as KEY


async def open_channel(source: int, sink: int, *, send_timeout_s: float) -> Channel:
    """A channel over duplicates of two descriptors; the channel closes the duplicates, never the originals.

    Whoever shares an end of the pipe sees it non-blocking until `restore()`.

    Raises:
        ConfigError: One of them is closed, or is not a pipe, a socket or a terminal.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    with contextlib.ExitStack() as opened:
        try:
            _check_source(source)
            source_file = opened.enter_context(_duplicate(source, "rb"))
            incoming, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), source_file
            )
            opened.callback(incoming.close)
            sink_file = opened.enter_context(_duplicate(sink, "wb"))
            # The protocol is there for its flow control; it never gets a byte to read.
            outgoing, protocol = await loop.connect_write_pipe(
                lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink_file
            )
        except (ValueError, OSError) as exc:
            raise ConfigError(KEY, f"stdio:// needs pipes for standard input and output: {exc}") from exc
        opened.pop_all()  # both are the transports' now
    writer = asyncio.StreamWriter(outgoing, protocol, None, loop)
    return Channel(reader, writer, send_timeout_s=send_timeout_s, source=incoming)


def restore(*descriptors: int) -> None:
    """Make the descriptors blocking again, as whoever shares them expects; blocking is the open file's."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed by now
            os.set_blocking(descriptor, True)


def _check_source(descriptor: int) -> None:
    """Of the devices only terminals can be waited for; asyncio finds out too late to tell us.

    Raises:
        ValueError: It is another device, such as /dev/null.
    """
    if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
        raise ValueError("standard input is a device, but no terminal")


def _duplicate(descriptor: int, mode: str) -> BinaryIO:
    copy = os.dup(descriptor)
    try:
        return os.fdopen(copy, mode, buffering=0)  # type: ignore[return-value]  # FileIO: all that pipes need
    except BaseException:
        os.close(copy)
        raise
