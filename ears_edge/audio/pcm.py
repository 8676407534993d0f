"""PCM bytes <-> mono float32. The int16 scale is 32768, here and nowhere else."""

from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np

from ears_edge.errors import AudioFormatError
from ears_edge.units import F32

Encoding = Literal["unsigned", "signed", "float"]

MIN_RATE: Final = 1_000
"""Below this, a small block would become minutes of audio."""
MAX_RATE: Final = 768_000
"""The highest rate that converters are built for."""
MAX_WIDTH: Final = 4
MAX_CHANNELS: Final = 32

_FLOAT_WIDTH: Final = 4

_SCALES: Final = {1: 2.0**-7, 2: 2.0**-15, 3: 2.0**-31, 4: 2.0**-31}
"""Integer -> [-1, 1) by width in bytes; 24 bits are widened to 32 first."""


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
    """8-bit PCM is unsigned everywhere, so `signed` of width 1 is taken, and kept, as `unsigned`."""

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise AudioFormatError(
                f"a sample rate of {self.rate} Hz; {MIN_RATE} to {MAX_RATE} Hz can be heard"
            )
        if not 1 <= self.width <= MAX_WIDTH:
            raise AudioFormatError(f"samples of {self.width} bytes; 1 to {MAX_WIDTH} can be read")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioFormatError(f"{self.channels} channels; 1 to {MAX_CHANNELS} can be mixed")
        if self.encoding == "float" and self.width != _FLOAT_WIDTH:
            raise AudioFormatError(f"float samples of {self.width} bytes; only float32 can be read")
        if self.encoding == "unsigned" and self.width != 1:
            raise AudioFormatError(f"unsigned samples of {self.width} bytes; only 8-bit PCM is unsigned")
        if self.encoding == "signed" and self.width == 1:
            object.__setattr__(self, "encoding", "unsigned")  # the dataclass is frozen

    @classmethod
    def wyoming(cls, rate: int, width: int, channels: int) -> Self:
        """A Wyoming event's format, which knows a width only: unsigned 8, signed 16, 24 or 32 bits.

        Raises:
            AudioFormatError: A value is out of range.
        """
        return cls(rate, width, channels)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample frame, that is one sample of every channel."""
        return self.width * self.channels

    def seconds(self, size: int) -> float:
        """How long `size` bytes last."""
        return size / (self.frame_bytes * self.rate)

    def block_bytes(self, seconds: float) -> int:
        """Bytes of about `seconds` of audio: whole sample frames, at least one."""
        return max(1, round(seconds * self.rate)) * self.frame_bytes


def decode(pcm: bytes, fmt: PcmFormat) -> F32:
    """Interleaved PCM -> (N,) float32 mono in [-1, 1], the mean over the channels.

    Integers are divided by 2 ** (bits - 1), so 16 bits by 32768. Float samples that are not finite become 0,
    others are clipped to [-1, 1].

    Raises:
        AudioFormatError: `pcm` does not hold whole sample frames.
    """
    if len(pcm) % fmt.frame_bytes:
        raise AudioFormatError(f"{len(pcm)} bytes of audio; one sample frame has {fmt.frame_bytes}")
    return _mix(_samples(pcm, fmt).reshape(-1, fmt.channels))


def encode_s16(samples: F32) -> bytes:
    """(N,) float32 in [-1, 1] -> signed 16-bit little-endian PCM, rounded, clipped at full scale."""
    scaled: F32 = np.rint(samples * np.float32(32_768))
    return scaled.clip(-32_768, 32_767).astype("<i2").tobytes()


def encode_f32(samples: F32) -> bytes:
    """(N,) float32 -> little-endian float32 PCM."""
    return samples.astype("<f4", copy=False).tobytes()


def _samples(pcm: bytes, fmt: PcmFormat) -> F32:
    if fmt.encoding == "float":
        floats = np.nan_to_num(np.frombuffer(pcm, "<f4").astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return np.clip(floats, -1.0, 1.0, out=floats)
    scale = np.float32(_SCALES[fmt.width])
    match fmt.width:
        case 1:
            return (np.frombuffer(pcm, np.uint8).astype(np.float32) - np.float32(128)) * scale
        case 3:
            wide = np.zeros((len(pcm) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
            return wide.view("<i4")[:, 0].astype(np.float32) * scale
        case width:
            return np.frombuffer(pcm, f"<i{width}").astype(np.float32) * scale


def _mix(frames: F32) -> F32:
    """(N, channels) -> (N,)."""
    channels = frames.shape[1]
    if channels == 1:
        return frames[:, 0]
    # Channel by channel: the order in which `np.mean` adds may change with N, and then the result would
    # depend on how the client cut the audio.
    mono = frames[:, 0].copy()
    for channel in range(1, channels):
        mono += frames[:, channel]
    mono /= np.float32(channels)
    return mono
