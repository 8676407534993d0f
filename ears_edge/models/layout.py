"""Which files of a repository make a model in the onnx-asr layout. Pure."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

ENCODER: Final = "encoder-model"
DECODER_JOINT: Final = "decoder_joint-model"
STEMS: Final = (ENCODER, DECODER_JOINT)
VOCABULARY: Final = "vocab.txt"
CONFIG: Final = "config.json"
TEXTS: Final = (VOCABULARY, CONFIG)
WORDS: Final = "words.npz"
"""How likely words are by themselves. The model in the package has it, those of the hub do not."""
CTC: Final = "ctc.npz"
"""A CTC head for the encoder's frames. The model in the package has it, those of the hub do not."""
LARGE: Final = (".onnx", ".data", "_data")
"""Endings of all others."""
LICENCES: Final = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE")
"""Kept beside the files where the repository has them; licences ask for that."""


class Choice(NamedTuple):
    """What to fetch."""

    files: tuple[str, ...]
    missing: tuple[str, ...]
    """Files of the layout that are not there; empty if the model is complete."""


def graphs(stem: str) -> tuple[str, str]:
    """Names of a graph. INT8 comes before float: it is what a small box can carry."""
    return f"{stem}.int8.onnx", f"{stem}.onnx"


def floats(stem: str) -> tuple[str, str]:
    """Names of a graph in floating point; what is in half of it comes last."""
    return f"{stem}.onnx", f"{stem}.fp16.onnx"


def external_data(graph: str) -> tuple[str, ...]:
    """Names of weights beside a graph. Source: what torch.onnx and onnx.external_data_helper write."""
    return f"{graph}.data", f"{graph}_data"


def has_floats(names: Iterable[str]) -> bool:
    """Whether a float encoder is among the files."""
    return bool({*names} & {*floats(ENCODER)})


def choose(available: Collection[str], *, floats: bool = False) -> Choice:
    """The files to fetch, of those in the root of a repository: no other sizes, no preprocessors.

    Args:
        available: Names of the files there.
        floats: The float encoder is wanted beside that in INT8.
    """
    files: list[str] = []
    missing: list[str] = []
    for stem in STEMS:
        graph = next((name for name in graphs(stem) if name in available), None)
        if graph is None:
            missing.append(graphs(stem)[0])
        else:
            files += [graph, *(name for name in external_data(graph) if name in available)]
    if floats and (more := f"{ENCODER}.onnx") not in files:
        if more in available:
            files += [more, *(name for name in external_data(more) if name in available)]
        else:
            missing.append(more)
    files += [name for name in TEXTS if name in available]
    missing += [name for name in TEXTS if name not in available]
    files += [name for name in LICENCES if name in available]
    return Choice(tuple(files), tuple(missing))


def possible() -> Iterator[str]:
    """Every name that `choose` may choose."""
    for stem in STEMS:
        for graph in graphs(stem):
            yield graph
            yield from external_data(graph)
    yield from TEXTS
    yield from LICENCES
