"""A lock between processes. The system gives it back when its holder ends, however that ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ears_edge.errors import UnavailableError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock while the block runs. The file stays: taking it away would let two in.

    Args:
        path: The lock's file; its folder is made.
        what: What is kept from others, for the message.

    Raises:
        UnavailableError: Another process holds it; code `model-locked`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            file.seek(0)
            holder = file.read(32).decode("ascii", "replace").strip()
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise UnavailableError(
                f"{what}: {who} is at it right now. Wait until it is done, then try again.",
                code="model-locked",
            ) from exc
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        yield
