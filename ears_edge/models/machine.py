"""What kind of CPU this is, as far as packed weights depend on it."""

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")
FEATURES: Final = frozenset({"flags", "features", "cpu implementer", "cpu part"})
"""Lines of it that tell which instructions there are. Source: Linux, arch/{x86,arm64}/kernel/cpu/proc.c."""
SYSCTL: Final = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
"""Source: sysctl(8) of macOS."""


def cpu() -> str:
    """One line that is the same on CPUs of the same architecture and features; never empty."""
    return " ".join([platform.system(), platform.machine(), *(_linux() or _macos())])


def features(cpu_info: str) -> list[str]:
    """All features of all cores, sorted: cores may differ.

    Args:
        cpu_info: What Linux tells in /proc/cpuinfo.
    """
    return sorted({word for line in cpu_info.splitlines() for word in _words(line)})


def _words(line: str) -> Iterator[str]:
    name, _, value = line.partition(":")
    if name.strip().lower() in FEATURES:
        yield from value.split()


def _linux() -> list[str]:
    try:
        return features(CPU_INFO.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return []


def _macos() -> list[str]:
    try:
        return subprocess.run(SYSCTL, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603  # constant
    except (OSError, subprocess.CalledProcessError):
        return [platform.processor()]
