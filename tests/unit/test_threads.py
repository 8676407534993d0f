"""Which threads there are, beside those that the settings ask for: each takes cores away from a decode."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TASKS = Path("/proc/self/task")
MULTIPLY = (
    "import os, ears_edge, numpy as np; a = np.ones((600, 600), np.float32); a @ a; "
    f"print(len(os.listdir({str(TASKS)!r})))"
)


@pytest.mark.skipif(not TASKS.is_dir(), reason="only Linux tells them so")
@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("2", 2)])
def test_numpy_has_one_thread_unless_more_are_asked_for(asked: str | None, threads: int) -> None:
    env = {"PATH": os.environ.get("PATH", "")} | ({"OPENBLAS_NUM_THREADS": asked} if asked else {})
    command = [sys.executable, "-c", MULTIPLY]
    told = subprocess.run(  # noqa: S603  # our own
        command, check=True, env=env, timeout=100, capture_output=True, text=True
    )
    assert int(told.stdout) == min(threads, len(os.sched_getaffinity(0)))
