"""What the recipe of the embedded model must share with the product. The recipe itself needs more to run."""

import json
import struct

import sentencepiece

from ears_edge.models.folder import ModelFolder, resolve
from tests.clips import OWN

TRAINING = OWN.parents[1] / "training"


def test_the_tokenizer_has_the_pieces_of_the_embedded_vocabulary() -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(TRAINING / "tokenizer.model"))
    known = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    assert known == list(ModelFolder.open(resolve("embedded")).pieces)[:-1]


def test_the_float_checkpoint_is_of_a_model_of_this_shape() -> None:
    file = (TRAINING / "checkpoint.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", file[:8])
    tensors = json.loads(file[8 : 8 + size])
    assert tensors["ctc.weight"] == {**tensors["ctc.weight"], "dtype": "F16", "shape": [513, 144]}
    assert sum("norm_out.weight" in name for name in tensors) == 16
