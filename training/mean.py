"""The mean of checkpoints: `python -m training.mean FILE FILE --out FILE`; one named twice counts twice.

A run that went on from another one's weights and learnt something else stays near it, and between the two
lies a model that keeps the better part of both. Source: Wortsman et al., "Model soups" (2022).
"""

import argparse
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from training.model import depth, grown


def mean(checkpoints: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Weights of models of one shape -> their mean, as float16; whole numbers as in the first.

    Encoders with fewer layers than the deepest count as they would have begun a training with as many.

    Raises:
        ValueError: the shapes differ otherwise.
    """
    deepest = max(map(depth, checkpoints))
    checkpoints = [grown(weights, deepest) for weights in checkpoints]
    shapes = [{name: value.shape for name, value in weights.items()} for weights in checkpoints]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("the checkpoints are of models of different shapes")
    return {
        name: torch.stack([weights[name].float() for weights in checkpoints]).mean(0).half()
        if value.is_floating_point()
        else value
        for name, value in checkpoints[0].items()
    }


def main() -> None:
    """Read the command line, then write the mean."""
    parser = argparse.ArgumentParser(description="Write the mean of float checkpoints.")
    parser.add_argument("checkpoints", type=Path, nargs="+", help="float checkpoints of one lineage")
    parser.add_argument("--out", type=Path, required=True, help="file of the mean")
    asked = parser.parse_args()
    try:
        weights = mean([load_file(path) for path in asked.checkpoints])
    except (OSError, ValueError, SafetensorError) as error:
        parser.error(str(error))
    save_file(weights, asked.out)


if __name__ == "__main__":
    main()
