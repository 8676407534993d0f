"""Text -> token numbers of the embedded vocabulary."""

from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

PIECES = Path(__file__).parent / "tokenizer.model"


class Tokenizer:
    """SentencePiece's merges."""

    def __init__(self, model: Path = PIECES) -> None:
        self._pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(model))

    def encode(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(U,) int64."""
        return np.asarray(self._pieces.encode(text), np.int64)

    def knows(self, text: str) -> bool:
        """Whether the vocabulary has all characters of `text`: the model would learn to write a blot else."""
        return self._pieces.unk_id() not in self._pieces.encode(text)
