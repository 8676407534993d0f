"""Export: `python -m training.export --checkpoint FILE --out FOLDER`.

NeMo's exporter writes the graphs, onnxruntime's dynamic quantization makes them INT8: the way the large
models in this layout are made, so that the product's rewriting of encoders finds the same patterns.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime.quantization import quantize_dynamic

from training.model import FLOAT, layout, load, read_labels

HERE = Path(__file__).parent
EMBEDDED = HERE.parent / "ears_edge" / "models" / "embedded"


def export(checkpoint: Path, vocabulary: Path, target: Path) -> None:
    """Write encoder, decoder with joint, CTC head, vocabulary and config.json into `target`."""
    labels = read_labels(vocabulary)
    model = load(checkpoint, labels)
    model.nemo.eval()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model.nemo.export(str(Path(folder) / "model.onnx"))
        for name in ("encoder-model", "decoder_joint-model"):
            quantize_dynamic(Path(folder) / f"{name}.onnx", target / f"{name}.int8.onnx")
    weight, bias = (row.detach().numpy().astype(np.float16) for row in (model.ctc.weight, model.ctc.bias))
    np.savez_compressed(target / "ctc.npz", weight=weight, bias=bias)
    pieces = "".join(f"{piece} {number}\n" for number, piece in enumerate([*labels, "<blk>"]))
    (target / "vocab.txt").write_text(pieces, "utf-8")
    (target / "config.json").write_text(layout(), "utf-8")


def main() -> None:
    """Read the command line, then export."""
    parser = argparse.ArgumentParser(description="Export the model as INT8 ONNX in the onnx-asr layout.")
    parser.add_argument("--checkpoint", type=Path, default=HERE / FLOAT, help="float weights")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="folder of the exported model")
    asked = parser.parse_args()
    export(asked.checkpoint, EMBEDDED / "vocab.txt", asked.out)


if __name__ == "__main__":
    main()
