"""Ctrl-C ends a command, whatever it is doing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 60.0
CLEANS_UP = """
import asyncio
from ears_edge import interrupt

async def main():
    print("begun", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)

try:
    interrupt.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_was_begun_is_cleaned_up() -> None:
    with subprocess.Popen([sys.executable, "-c", CLEANS_UP], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert (out, process.returncode) == ("cleaned up\ninterrupted\n", 0)


def test_a_command_that_waits_for_a_pipe_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "never"
    os.mkfifo(pipe)
    with subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "ears_edge", "transcribe", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EARS_EDGE_MODEL__THREADS": "1"},
    ) as process:
        with pipe.open("wb"):  # returns when the command has opened it, too, and waits for us
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err.strip()) == (130, "", "")
