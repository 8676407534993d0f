"""How much memory this process has held at most."""

import re
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Resident memory at its highest since the process began.

    On Linux from /proc: `getrusage` there also counts what the process was forked from.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if match := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
