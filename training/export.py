"""Export: `python -m training.export --checkpoint FILE --out FOLDER`.

NeMo's exporter writes the graphs, onnxruntime's dynamic quantization makes them INT8: the way the large
models in this layout are made, so that the product's rewriting of encoders finds the same patterns.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from onnxruntime.quantization import quantize_dynamic
from torch import nn

from training.model import FLOAT, Recognizer, layout, load, read_labels

HERE = Path(__file__).parent
EMBEDDED = HERE.parent / "ears_edge" / "models" / "embedded"

DEVIATIONS = 3.0
"""How far out a norm's output goes, in its own deviations."""
SMALLEST = 1e-5


def export(checkpoint: Path, vocabulary: Path, target: Path) -> None:
    """Write encoder, decoder with joint, vocabulary and config.json into `target`."""
    labels = read_labels(vocabulary)
    model = load(checkpoint, labels)
    model.nemo.eval()
    balance(model)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model.nemo.export(str(Path(folder) / "model.onnx"))
        for name in ("encoder-model", "decoder_joint-model"):
            quantize_dynamic(Path(folder) / f"{name}.onnx", target / f"{name}.int8.onnx")
    pieces = "".join(f"{piece} {number}\n" for number, piece in enumerate([*labels, "<blk>"]))
    (target / "vocab.txt").write_text(pieces, "utf-8")
    (target / "config.json").write_text(layout(), "utf-8")


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not installed where types are checked
def balance(model: Recognizer) -> None:
    """Level the channels that are quantized together, so that eight bits do for all; the model says the same.

    A channel that is large before a product, and has small weights in it, gives of the one to the other.
    Source: Xiao et al., SmoothQuant (2023), here with a norm's own weights for what goes through it.
    """
    for layer in model.nemo.encoder.layers:
        attention = layer.self_attn
        for norm, products in (
            (layer.norm_feed_forward1, [layer.feed_forward1.linear1]),
            (layer.norm_self_att, [attention.linear_q, attention.linear_k, attention.linear_v]),
            (layer.norm_conv, [layer.conv.pointwise_conv1]),
            (layer.norm_feed_forward2, [layer.feed_forward2.linear1]),
        ):
            loudest = DEVIATIONS * norm.weight.abs() + norm.bias.abs()
            _give(loudest, [norm.weight, norm.bias], [product.weight for product in products])
        value = attention.linear_v.weight
        _give(value.abs().amax(1), [value], [attention.linear_out.weight])


def _give(loudest: torch.Tensor, before: list[nn.Parameter], after: list[nn.Parameter]) -> None:
    """Divide the rows of `before`, multiply the columns of `after`: (C,), [(C, ...)], [(rows, C, ...)]."""
    weights = torch.stack([row.abs().amax([0, *range(2, row.dim())]) for row in after]).amax(0)
    shares = (loudest.clamp(min=SMALLEST) / weights.clamp(min=SMALLEST)).sqrt()
    shares /= shares.log().mean().exp()
    for row in before:
        row.div_(shares.view(-1, *[1] * (row.dim() - 1)))
    for row in after:
        row.mul_(shares.view(1, -1, *[1] * (row.dim() - 2)))


def main() -> None:
    """Read the command line, then export."""
    parser = argparse.ArgumentParser(description="Export the model as INT8 ONNX in the onnx-asr layout.")
    parser.add_argument("--checkpoint", type=Path, default=HERE / FLOAT, help="float weights")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="folder of the exported model")
    asked = parser.parse_args()
    export(asked.checkpoint, EMBEDDED / "vocab.txt", asked.out)


if __name__ == "__main__":
    main()
