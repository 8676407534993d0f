"""ears_edge: speech to text for the LAN, over Wyoming and eaRS, from one streaming engine."""

from importlib.metadata import version

__version__ = version("ears-edge")
