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

    Of CPUs those do that have tiles for it. One with AVX-512's instructions alone takes a sixth longer for a
    step of the training than in float32, and one without any over four times as long.
    """
    return device.type == "cuda" or bool(torch.cpu.get_capabilities().get("amx_bf16"))
