"""Does what is trained on teach what other clips ask for? `python -m training.slopes --data A --new B`.

A model that is at rest on its own clips is not at rest on others, such as people's: the slope of its loss
there tells which way its weights would have to go for them. Of each kind of clips that it could be trained on
this tells how far they pull that way, before anybody trains for hours: `--set` makes numbers of the recipe
others, `--other` takes other shards, such as those of one synthesizer. Nothing is learnt from the clips of
`--new`; they choose, as they do between models.
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from training import acoustics, features, listening
from training.corpus import RATE, Clip, read_shard
from training.features import log_mel, normalize
from training.listening import STEP, Batch, Corpus, Listening
from training.model import FLOAT, Recognizer, load, read_labels
from training.tokenizer import Tokenizer
from training.train import CTC_SHARE, HARDNESS, HERE, VOCABULARY, losses

SECONDS = 64.0
"""Of one batch."""
LEAST_WORDS = 3
"""Of clips that are asked: of a word alone there is much to learn that sentences do not need."""
RESTING = 0.1
"""Of the mean size of a slope, added to each weight's own: no weight counts for ever so much."""
MODULES = {"acoustics": acoustics, "features": features, "listening": listening}


class Agreement(NamedTuple):
    """What batches gain for the wanted clips, in percent of what these gain by themselves."""

    mean: float
    error: float
    """Standard error of the mean."""
    loss: float
    """The transducer's, a token."""

    def __str__(self) -> str:
        return f"{self.mean:6.1f} ± {self.error:.1f} %, loss {self.loss:.3f}"


def main() -> None:
    """Read the command line, print the agreement of the recipe's clips, and of those that were asked for."""
    parser = argparse.ArgumentParser(description="Compare what clips teach with what others ask for.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the shards to be trained on")
    parser.add_argument("--new", type=Path, required=True, help="folder of the shards that are asked")
    parser.add_argument("--start", type=Path, default=HERE / FLOAT, help="float checkpoint")
    parser.add_argument("--batches", type=int, default=25, help="of each kind, from 2 on")
    parser.add_argument(
        "--other", type=Path, help="folder of the shards of the other kind; --data's if left out"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="MODULE.NAME=JSON",
        help="a number of the recipe, such as features.CRISP=0 or listening.JOINED=[0,0]",
    )  # fmt: skip
    asked = parser.parse_args()
    if asked.batches < 2:
        parser.error(f"--batches is a number from 2 on, not {asked.batches}")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = load(asked.start, read_labels(VOCABULARY))
    model.eval()
    try:
        corpus = Corpus(asked.data, "cpu")
        wanted = mean_of(model, whole(sentences(asked.new)))
        own = [slope(model, batch) for batch in itertools.islice(heard(corpus), asked.batches)]
        scale = torch.stack([found.square() for found, _ in own]).mean(0).sqrt_()
        scale += RESTING * scale.mean()
        print(f"as the recipe has them: {agreement(own, wanted, scale)}", flush=True)
        for setting in asked.set:
            change(setting)
        if asked.other:
            corpus = Corpus(asked.other, "cpu")
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    if not asked.set and not asked.other:
        return
    other = [slope(model, batch) for batch in itertools.islice(heard(corpus), asked.batches)]
    print(f"{' '.join(asked.set)} {asked.other or ''}: {agreement(other, wanted, scale)}")


def change(setting: str) -> None:
    """Make a number of the recipe another one, for this process.

    Raises:
        ValueError: There is no such number.
    """
    place, _, value = setting.partition("=")
    module, _, name = place.partition(".")
    if module not in MODULES or not name.isupper() or not hasattr(MODULES[module], name):
        raise ValueError(f"{place!r} is no number of the recipe: MODULE.NAME of {', '.join(MODULES)}")
    setattr(MODULES[module], name, json.loads(value))


def heard(corpus: Corpus) -> Iterator[Batch]:
    """What the training would hear; the same each time but for what was changed."""
    hearing = Listening(corpus, np.random.default_rng(1), "cpu")
    hearing.hardness = HARDNESS
    return hearing.batches()


def sentences(folder: Path) -> list[Clip]:
    """The clips of a folder, but those of less than LEAST_WORDS words, the shortest first.

    Raises:
        FileNotFoundError: There is none.
    """
    clips = [clip for path in sorted(folder.glob("*.npz")) for clip in read_shard(path)]
    clips = [clip for clip in clips if len(clip.text.split()) >= LEAST_WORDS]
    if not clips:
        raise FileNotFoundError(f"no clip of {LEAST_WORDS} words or more in {folder}")
    return sorted(clips, key=lambda clip: len(clip.speech))


def whole(clips: Iterable[Clip]) -> Iterator[Batch]:
    """The clips as they are, SECONDS at a time."""
    tokenizer, waiting = Tokenizer(), list(clips)
    while waiting:
        count = 1
        while count < len(waiting) and (count + 1) * len(waiting[count].speech) <= SECONDS * RATE:
            count += 1
        chosen, waiting = waiting[:count], waiting[count:]
        lengths = np.array([len(clip.speech) for clip in chosen])
        sound = torch.zeros(len(chosen), int(lengths.max()))
        for row, clip in zip(sound, chosen, strict=True):
            row[: len(clip.speech)] = torch.from_numpy(clip.speech.astype(np.float32) / 32768)
        columns = lengths // STEP
        texts = [tokenizer.encode(clip.text) for clip in chosen]
        written = np.array([len(text) for text in texts])
        tokens = np.zeros((len(texts), int(written.max())), np.int64)
        for line, text in zip(tokens, texts, strict=True):
            line[: len(text)] = text
        mels = normalize(log_mel(sound, lengths)[:, : int(columns.max())], columns)
        yield Batch(mels, columns, torch.from_numpy(tokens), written, float(lengths.sum()) / RATE)


def slope(model: Recognizer, batch: Batch) -> tuple[torch.Tensor, float]:
    """(N,) over all of the encoder's N weights, and the transducer's loss a token."""
    weights = list(model.nemo.encoder.parameters())
    transducer, ctc = losses(model, batch)
    found = torch.autograd.grad(transducer + CTC_SHARE * ctc, weights, allow_unused=True)
    rows = [
        torch.zeros(row.numel()) if grad is None else grad.flatten()
        for grad, row in zip(found, weights, strict=True)
    ]
    return torch.cat(rows), float(transducer.detach())


def mean_of(model: Recognizer, batches: Iterable[Batch]) -> torch.Tensor:
    """(N,): the slope in all batches, each counted by its tokens."""
    total, tokens = torch.zeros(1), 0.0
    for batch in batches:
        written = float(batch.lengths.sum())
        total = total + slope(model, batch)[0] * written
        tokens += written
    return total / tokens


def agreement(
    slopes: Sequence[tuple[torch.Tensor, float]], wanted: torch.Tensor, scale: torch.Tensor
) -> Agreement:
    """What steps along the slopes gain for the wanted clips, in percent of what steps along their own do.

    Args:
        slopes: Two or more, of `slope`.
        wanted: (N,), of `mean_of`.
        scale: (N,) above zero; each weight's steps are its slope by this, about as AdamW has it.
    """
    ahead = wanted / scale
    own = torch.dot(ahead, wanted)
    gains = 100 * np.array([float(torch.dot(ahead, found) / own) for found, _ in slopes])
    return Agreement(
        float(gains.mean()),
        float(gains.std(ddof=1) / len(gains) ** 0.5),
        float(np.mean([loss for _, loss in slopes])),
    )


if __name__ == "__main__":
    main()
