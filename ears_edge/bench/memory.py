"""How much memory this process holds, and has held at most."""

import re
import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Resident memory at its highest since the process began.

    On Linux from /proc: `getrusage` there also counts what the process was forked from.
    """
    if peak := _status("VmHWM"):
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory now; on systems without /proc the peak, which is the nearest thing."""
    return _status("VmRSS") or peak_bytes()


def _status(member: str) -> int:
    """Bytes of a member of /proc/self/status; 0 where there is none."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    match = re.search(rf"^{member}:\s*(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
