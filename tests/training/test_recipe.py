"""What the recipe of the embedded model must share with the product. The recipe itself needs more to run."""

import json
import struct

import numpy as np
import pytest
import sentencepiece

from ears_edge.dsp.features import LogMel, normalize
from ears_edge.models.folder import ModelFolder, resolve
from ears_edge.units import F32
from tests.clips import OWN, Clip, clips
from training.features import MELS, log_mel, masked, warped

TRAINING = OWN.parents[1] / "training"
TOLERANCE = 2e-3
"""Of a normalized feature, whose deviation is 1: what the product itself may differ from its reference."""


def streamed(sound: F32) -> F32:
    mel = LogMel(MELS)
    return np.concatenate((mel.feed(sound), mel.flush()))


@pytest.mark.parametrize(
    "clip", [c for c in clips() if c.own and c.kind == "command"][:6], ids=lambda c: c.name
)
def test_the_model_learns_from_the_features_that_the_product_computes(clip: Clip) -> None:
    sound = clip.heard()
    ours, theirs = normalize(log_mel(sound)), normalize(streamed(sound))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < TOLERANCE


def test_columns_are_warped_and_masked_within_bounds() -> None:
    rng = np.random.default_rng(1)
    columns = rng.standard_normal((200, MELS)).astype(np.float32)
    for _ in range(20):
        other = masked(warped(columns, rng), rng)
        assert other.dtype == np.float32
        assert other.shape[1] == MELS
        assert 0.85 * len(columns) < len(other) < 1.15 * len(columns)
        assert np.isfinite(other).all()
        assert np.count_nonzero(other) > other.size / 2


def test_the_tokenizer_has_the_pieces_of_the_embedded_vocabulary() -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(TRAINING / "tokenizer.model"))
    known = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    assert known == list(ModelFolder.open(resolve("embedded")).pieces)[:-1]


def test_the_float_checkpoint_is_of_a_model_of_this_shape() -> None:
    file = (TRAINING / "checkpoint.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", file[:8])
    tensors = json.loads(file[8 : 8 + size])
    assert tensors["ctc.weight"] == {**tensors["ctc.weight"], "dtype": "F16", "shape": [513, 144]}
    assert sum("norm_out.weight" in name for name in tensors) == 8
