"""What the recipe of the embedded model must share with the product. The recipe itself needs more to run."""

import json
import struct
from typing import Any

import numpy as np
import sentencepiece

from ears_edge.models.folder import ModelFolder, resolve
from tests.clips import OWN

TRAINING = OWN.parents[1] / "training"


def test_the_tokenizer_has_the_pieces_of_the_embedded_vocabulary() -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(TRAINING / "tokenizer.model"))
    known = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    assert known == list(ModelFolder.open(resolve("embedded")).pieces)[:-1]


def test_the_float_checkpoint_is_of_a_model_of_this_shape() -> None:
    tensors, _ = checkpoint()
    assert tensors["ctc.weight"] == {**tensors["ctc.weight"], "dtype": "F16", "shape": [513, 144]}
    assert sum("norm_out.weight" in name for name in tensors) == 20


def test_the_ctc_head_of_the_embedded_model_is_the_checkpoints() -> None:
    """So they were exported together; the graphs' INT8 weights do not tell."""
    folder = ModelFolder.open(resolve("embedded"))
    assert folder.ctc
    tensors, values = checkpoint()
    first, last = tensors["ctc.weight"]["data_offsets"]
    with np.load(folder.ctc) as head:
        expected = np.frombuffer(values[first:last], np.float16).reshape(head["weight"].shape)
        np.testing.assert_array_equal(head["weight"], expected)


def checkpoint() -> tuple[dict[str, dict[str, Any]], bytes]:
    """What the safetensors file says of its tensors, by name, and their values."""
    file = (TRAINING / "checkpoint.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + size]), file[8 + size :]
