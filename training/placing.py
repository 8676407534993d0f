"""Small arrays on their way to the device that trains, and in what it multiplies."""

import numpy as np
import numpy.typing as npt
import torch

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


def placed(values: npt.NDArray[np.generic], device: str | torch.device) -> torch.Tensor:
    """A copy on the device, without waiting for what it is still at work on."""
    tensor = torch.from_numpy(values)
    return tensor if str(device) == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def in_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies faster in bfloat16 than in float32.

    A CPU that has no instructions for it takes over four times as long for a step of the training.
    """
    return device.type == "cuda" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
