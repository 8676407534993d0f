"""What is read, not heard: text that nobody has spoken teaches the predictor which piece follows which.

The joint network is given nothing for the sound, and names the next piece from those before it. A sentence
costs a twentieth of what it costs to hear it, and need not be synthesized. Source of the idea: Meng et al.,
"Internal language model training for domain-adaptive end-to-end speech recognition" (2021).
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from training.model import Recognizer
from training.texts import sentences
from training.tokenizer import Tokenizer

COMMANDS = 0.3
"""Share of commands among the sentences."""
MIXED = 0.2
"""Share of the rest with words of elsewhere: less than is heard, since here it matters what follows what."""
SNIPPETS = 0.1
"""Share of all of them that are but a word or two."""
SENTENCES = {"cpu": 32, "cuda": 500}


class Page(NamedTuple):
    """The sentences of one batch, on the device."""

    tokens: torch.Tensor
    """(B, U) int64, padded with 0."""
    lengths: torch.Tensor
    """(B,) int64: how many of the U tokens are each sentence's."""


def pages(rng: random.Random, novels: Path, device: str) -> Iterator[Page]:
    """Batches without end; `novels` as `read_prose` takes them."""
    texts = sentences(rng, novels, COMMANDS, mixed=MIXED, snippets=SNIPPETS)
    tokenizer = Tokenizer()
    while True:
        yield page([tokenizer.encode(next(texts)) for _ in range(SENTENCES[device])], device)


def page(texts: list[np.ndarray[tuple[int], np.dtype[np.int64]]], device: str) -> Page:
    """Tokens of some sentences, (U,) each -> one batch."""
    tokens = pad_sequence([torch.from_numpy(text) for text in texts], batch_first=True)
    return Page(tokens.to(device), torch.tensor([len(text) for text in texts], device=device))


def reading_loss(model: Recognizer, read: Page) -> torch.Tensor:
    """Mean cross-entropy of a piece, in nats."""
    predicted, _, _ = model.nemo.decoder(targets=read.tokens, target_length=read.lengths)
    joint = model.nemo.joint
    written = joint.pred(predicted.transpose(1, 2))[:, :-1]
    inside = torch.arange(read.tokens.shape[1], device=read.tokens.device) < read.lengths[:, None]
    # Neither the blank nor the durations: nothing is said, and so nothing takes time.
    logits = joint.joint_net(written[inside])[:, : model.blank]
    return torch.nn.functional.cross_entropy(logits, read.tokens[inside])
