"""Where pulled models live."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM_STATE: Final = Path("/var/lib/ears-edge")
"""Where a user without a home keeps them. Source: Filesystem Hierarchy Standard 3.0, section 5.8."""


def models_folder(configured: str, env: Mapping[str, str]) -> Path:
    """The folder of all pulled models.

    `models.dir` wins; then the state folder that systemd gives a service, then the user's data folder. Models
    are data, not cache: what cleans caches would stop the daemon from starting.

    Args:
        configured: `models.dir`; may begin with `~`.
        env: The environment.
    """
    if configured:
        home = env.get("HOME", "").strip()
        if home and (configured == "~" or configured.startswith("~/")):
            return Path(home, configured[2:])
        return Path(configured)
    # Source: systemd.exec(5), RuntimeDirectory= and its kin: several are separated by colons
    if state := env.get("STATE_DIRECTORY", "").partition(":")[0].strip():
        return Path(state, "models")
    # Source: XDG Base Directory Specification 0.8: a relative path is to be ignored
    if (data := env.get("XDG_DATA_HOME", "").strip()) and Path(data).is_absolute():
        return Path(data, "ears-edge", "models")
    if home := env.get("HOME", "").strip():
        return Path(home, ".local", "share", "ears-edge", "models")
    return SYSTEM_STATE / "models"
