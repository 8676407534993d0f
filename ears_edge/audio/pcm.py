"""PCM bytes <-> mono float32. The int16 scale is 32768, here and nowhere else."""

from dataclasses import dataclass
from typing import Literal

Encoding = Literal["unsigned", "signed", "float"]


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """How to read interleaved PCM bytes, little-endian.

    Raises:
        AudioFormatError: A value is out of range, or the combination does not exist (for example float of
            width 2). Checked at construction.
    """

    rate: int
    """Sample frames a second, in Hz."""
    width: int
    """Bytes of one sample, 1 to 4."""
    channels: int
    encoding: Encoding = "signed"
