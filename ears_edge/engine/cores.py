"""How many threads are worth it here: physical cores, as far as this process may use them.

onnxruntime's own default counts the machine's cores and pins a thread to each, whatever the process is
allowed: with two of sixteen cores it would run sixteen threads (seen with 1.32 and `taskset`).
"""

import os
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

SYSCTL: Final = ("/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu")
"""The fast cores of Apple's chips: all threads wait for the slowest. Source: sysctl(8) of macOS."""


def threads(asked: int) -> int:
    """Threads of one encoder run: as many as asked for; for 0, one for each physical core."""
    if asked:
        return asked
    if hasattr(os, "sched_getaffinity"):
        return physical(os.sched_getaffinity(0), Path("/"))
    return _macos() or os.cpu_count() or 1


def physical(allowed: Collection[int], root: Path) -> int:
    """Physical cores of Linux, at least 1.

    Args:
        allowed: Numbers of the CPUs that this process may run on; two of them may share a core.
        root: Where /proc and /sys are.
    """
    cores = {_siblings(number, root) for number in allowed}
    quota = _quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def _siblings(number: int, root: Path) -> str:
    """A name of the core that a CPU is part of."""
    # Source: Linux, Documentation/ABI/stable/sysfs-devices-system-cpu
    path = root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"
    return _text(path) or str(number)


def _quota(root: Path) -> float | None:
    """CPUs' worth of time that control groups leave us; None if that is not limited."""
    group = next(
        (line[3:] for line in _text(root / "proc/self/cgroup").splitlines() if line[:3] == "0::"), ""
    )
    # Source: Linux, Documentation/admin-guide/cgroup-v2.rst; in a container our own group is the root.
    own = root / "sys/fs/cgroup" / group.strip("/")
    top = root / "sys/fs/cgroup"
    limits = [_text(path / "cpu.max") for path in (own, *own.parents) if path.is_relative_to(top)]
    # Source: Linux, Documentation/scheduler/sched-bwc.rst, of the older version
    v1 = top / "cpu"
    limits.append(f"{_text(v1 / 'cpu.cfs_quota_us')} {_text(v1 / 'cpu.cfs_period_us')}")
    found = [quota for limit in limits if (quota := _ratio(limit)) is not None]
    return min(found, default=None)


def _ratio(limit: str) -> float | None:
    """`200000 100000` -> 2.0; `max 100000` and `-1 100000` are no limits."""
    quota, _, period = limit.partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""


def _macos() -> int:
    try:
        found = subprocess.run(SYSCTL, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  # constant
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(found) if found.isdecimal() else 0
