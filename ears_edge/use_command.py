"""`ears-edge models use`: have the running daemon serve another model."""

import sys
from typing import TYPE_CHECKING, Final

from ears_edge import control
from ears_edge.config import Config
from ears_edge.terminal import console, plain, progress
from ears_edge.typed import to_json

if TYPE_CHECKING:
    from ears_edge.models.status import ModelStatus

OK: Final = 0
BAD: Final = 69
"""As `cli.MODEL`."""


def run(name: str, config: Config, *, as_json: bool) -> int:
    """Ask, and say how it goes; exit status 69 if the daemon keeps what it has.

    Raises:
        UnavailableError: No daemon answers.
        ModelError: There is no such model.
    """
    out = console(stderr=False)
    last: ModelStatus | None = None
    with progress(name, 1.0) as told:
        for status in control.use(config.control, name):
            if as_json:
                sys.stdout.write(to_json(status) + "\n")
                sys.stdout.flush()
            elif last is None or (status.phase, status.fault) != (last.phase, last.fault):
                out.say(plain(status.line()))
            told(status.done or 0.0)
            last = status
    if last is None or not last.well:
        return BAD
    if not as_json and config.model.name != name:
        out.say(plain(f'Until the daemon restarts. To keep it: name = "{name}" in [model] of the settings.'))
    return OK
