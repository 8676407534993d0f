"""Words for people."""

import errno
import os
import socket

import pytest

from ears_edge.errors import excerpt, network_reason

REFUSED = os.strerror(errno.ECONNREFUSED)


@pytest.mark.parametrize(
    ("exc", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), REFUSED),
        (
            OSError(
                f"Multiple exceptions: [Errno {errno.EHOSTUNREACH}] Connect call failed ('::1', 1, 0, 0), "
                f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', 1)"
            ),
            REFUSED,
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
        (OSError(), "OSError"),
        (UnicodeError("label empty or too long"), "no host can have this name"),
    ],
)
def test_a_network_error_is_told_in_the_systems_words_without_pythons(
    exc: OSError | UnicodeError, reason: str
) -> None:
    assert network_reason(exc) == reason


def test_what_is_long_is_cut() -> None:
    assert excerpt("abc") == "'abc'"
    assert excerpt("x" * 100, 10) == "'xxxxxx..."
