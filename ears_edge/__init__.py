"""ears_edge: speech to text for the LAN, over Wyoming and eaRS, from one streaming engine."""

import os
from importlib.metadata import version

__version__ = version("ears-edge")

# onnxruntime (1.32 on Linux, seen) keeps a device id in the user's cache and reports usage to its maker
# unless this is set before it is imported. What is said at home, and that it is said, stays at home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# numpy's OpenBLAS begins a thread for each core, whose threads spin after each product, for longer than the
# next decode takes and on cores that it needs: a quarter of all CPU time, on two cores (docs/TUNING.md,
# Threads). The products here are too small to be worth a second thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
