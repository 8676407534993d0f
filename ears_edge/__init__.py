"""ears_edge: speech to text for the LAN, over Wyoming and eaRS, from one streaming engine."""

import os
from importlib.metadata import version

__version__ = version("ears-edge")

# onnxruntime (1.32 on Linux, seen) keeps a device id in the user's cache and reports usage to its maker
# unless this is set before it is imported. What is said at home, and that it is said, stays at home.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
