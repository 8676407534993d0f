"""What a change of the settings asks of a running daemon."""

from dataclasses import replace

import pytest

from ears_edge.config import Config, EarsConfig, LogConfig, ModelConfig, ModelsConfig
from ears_edge.wishes import needing_restart

BEFORE = Config()


@pytest.mark.parametrize(
    ("after", "keys"),
    [
        (BEFORE, []),
        (replace(BEFORE, model=ModelConfig(name="big", threads=2)), []),
        (replace(BEFORE, models=ModelsConfig(offline=True)), []),
        (replace(BEFORE, log=LogConfig(level="debug")), ["log.level"]),
        (
            replace(BEFORE, ears=EarsConfig(port=1, vad=False), log=LogConfig(level="debug")),
            ["ears.port", "ears.vad", "log.level"],
        ),
    ],
)
def test_what_needs_a_restart_is_named(after: Config, keys: list[str]) -> None:
    assert list(needing_restart(BEFORE, after)) == keys
