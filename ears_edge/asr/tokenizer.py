"""vocab.txt <-> text, with the SentencePiece model rebuilt from the vocabulary."""

from collections.abc import Sequence
from typing import Any, Final

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from ears_edge.models.folder import UNKNOWN

SPACE: Final = "\u2581"
"""SentencePiece writes white space as this."""
_ModelProto: Any = vars(sentencepiece_model_pb2)["ModelProto"]  # protobuf makes the class at import


class Tokenizer:
    """Token ids to pieces and text, and text to token ids.

    The merges of a BPE vocabulary are ranked by its order, so a score of minus the rank rebuilds it.
    Source: SentencePiece, bpe_model_trainer.cc (scores of the final pieces).
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = tuple(pieces)
        """The vocabulary by token id; the last is blank, which SentencePiece knows nothing of."""
        self._processor = SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(_model(pieces[:-1]))

    def encode(self, text: str) -> list[int]:
        """Text -> token ids; what the vocabulary can't write becomes the unknown token."""
        ids: list[int] = self._processor.EncodeAsIds(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids (never blank) -> text."""
        text: str = self._processor.DecodeIds(list(ids))
        return text

    def is_silent(self, token: int) -> bool:
        """Whether the token writes nothing: the unknown token, and marks such as `<|en|>`."""
        piece = self.pieces[token]
        return piece == UNKNOWN or (piece.startswith("<|") and piece.endswith("|>"))


def is_mark(piece: str) -> bool:
    """Whether a piece stands for itself, such as `<unk>`, and not for what it spells."""
    return piece.startswith("<") and piece.endswith(">") and len(piece) > 1


def _model(pieces: Sequence[str]) -> bytes:
    kinds = _ModelProto.SentencePiece
    proto = _ModelProto()
    for rank, piece in enumerate(pieces):
        entry = proto.pieces.add()
        entry.piece, entry.score = piece, -float(rank)
        if piece == UNKNOWN:
            entry.type = kinds.UNKNOWN
        elif is_mark(piece):
            entry.type = kinds.CONTROL
        else:
            entry.type = kinds.NORMAL
    trainer = proto.trainer_spec
    trainer.model_type = trainer.BPE
    trainer.vocab_size = len(pieces)
    trainer.unk_id = pieces.index(UNKNOWN) if UNKNOWN in pieces else -1
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = True
    proto.normalizer_spec.escape_whitespaces = True
    serialized: bytes = proto.SerializeToString()
    return serialized
