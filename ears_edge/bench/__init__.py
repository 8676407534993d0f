"""`ears-edge bench`: how fast, how many at once, how much memory, how many wrong words."""

from ears_edge.bench.command import run

__all__ = ["run"]
