"""Nothing reports home: what onnxruntime writes to do so is not written."""

import os
import subprocess
import sys
from pathlib import Path

LOAD = (
    "from ears_edge.engine.recognizer import TdtRecognizer; from ears_edge.models.folder import resolve; "
    "TdtRecognizer.load(resolve('embedded'), threads=1)"
)


def test_loading_a_model_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "0"}
    subprocess.run([sys.executable, "-c", LOAD], check=True, env=env, timeout=100)  # noqa: S603  # our own
    assert list(tmp_path.rglob("*")) == []
