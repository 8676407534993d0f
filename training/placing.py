"""Small arrays on their way to the device that trains."""

import numpy as np
import numpy.typing as npt
import torch

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


def placed(values: npt.NDArray[np.generic], device: str | torch.device) -> torch.Tensor:
    """A copy on the device, without waiting for what it is still at work on."""
    tensor = torch.from_numpy(values)
    return tensor if str(device) == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
