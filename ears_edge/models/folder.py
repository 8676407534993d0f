"""A model as a folder in the onnx-asr layout: which files it has, and what they say of themselves."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from ears_edge.config import ModelsConfig
from ears_edge.errors import ModelCorruptError, ModelMismatchError, ModelNotFoundError, UnsupportedError
from ears_edge.models import catalog, layout
from ears_edge.models.store import Store
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_typed

EMBEDDED: Final = catalog.EMBEDDED
"""The name by which the settings ask for the model in the wheel."""
MODEL_TYPE: Final = "nemo-conformer-tdt"
BLANK: Final = "<blk>"
UNKNOWN: Final = "<unk>"
MAX_SHOWN_CHARS: Final = 40
"""Of what a client asked for, in a message."""
MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
"""No vocabulary or config is larger; a larger file is not one."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who made a model."""

    name: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is told of a model: `model.json` beside its files, which may be missing."""

    name: str
    version: str = ""
    description: str = ""
    languages: tuple[str, ...] = ()
    """Bare codes; empty if not known."""
    licence: str = ""
    attribution: Attribution = field(default_factory=Attribution)
    live_confidence: Annotated[float, Bounds(ge=0, le=1)] = 0.9
    """A live word less sure than this waits for more audio. Each model is sure in its own way: the embedded
    one's was measured, this is a guess for all others."""
    beam_size: Annotated[int, Bounds(ge=1, le=16)] = 1
    """Readings that are followed side by side; with 1 the search is greedy."""
    temperature: Annotated[float, Bounds(ge=0.1, le=10)] = 1.0
    """What a beam search divides the logits by: the surer of itself a model is, the more."""
    word_weight: Annotated[float, Bounds(ge=0, le=2)] = 0.0
    """How much the likelihood of words themselves counts in a beam search; above 0 it takes `words.npz`."""
    ctc_weight: Annotated[float, Bounds(ge=0, le=2)] = 0.0
    """How much a CTC head counts among the readings of a beam search; above 0 it takes `ctc.npz`."""

    def language(self, asked: str | None) -> str | None:
        """The model's own code for a language tag such as `en-US`; None if none was asked for.

        Raises:
            UnsupportedError: It has others, and not this one; `code` is `unsupported-language`.
        """
        tag = bare_language(asked or "")
        if not tag or not self.languages:
            return tag or None
        for language in self.languages:
            if bare_language(language) == tag:
                return language
        raise UnsupportedError(
            f"the model {self.name} does not speak {tag[:MAX_SHOWN_CHARS]!r}; "
            f"it speaks {', '.join(self.languages)}",
            code="unsupported-language",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """`config.json` of the onnx-asr layout."""

    model_type: str = MODEL_TYPE
    features_size: Annotated[int, Bounds(ge=1, le=1024)] = 80
    subsampling_factor: Annotated[int, Bounds(ge=1, le=64)] = 8
    max_tokens_per_step: Annotated[int, Bounds(ge=1, le=1000)] = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """The files of one model, found and read as far as they are text."""

    path: Path
    encoder: Path
    decoder_joint: Path
    float_encoder: Path | None = None
    """Some devices take no INT8; it may be the one above."""
    pieces: tuple[str, ...]
    """The vocabulary by token id; white space is written as U+2581; blank is the last."""
    config: ModelConfig
    info: ModelInfo
    words: Path | None = None
    """The list of words and pairs of words, if they are to count."""
    ctc: Path | None = None
    """The CTC head, if it is to count."""

    @classmethod
    def open(cls, path: Path) -> "ModelFolder":
        """Find and read the files below `path`.

        Raises:
            ModelNotFoundError: The folder or a file is missing.
            ModelCorruptError: A text file can't be read.
            ModelMismatchError: The files are those of another kind of model.
        """
        if not path.is_dir():
            raise ModelNotFoundError(f"{path}: no such model folder. Give a folder in the onnx-asr layout.")
        pieces = read_vocabulary(path / layout.VOCABULARY)
        info = _read_info(path)
        return cls(
            path=path,
            encoder=_pick(path, layout.ENCODER),
            decoder_joint=_pick(path, layout.DECODER_JOINT),
            float_encoder=_first(path, layout.floats(layout.ENCODER)),
            pieces=pieces,
            config=read_config(path / layout.CONFIG),
            info=info,
            words=path / layout.WORDS if info.beam_size > 1 and info.word_weight else None,
            ctc=path / layout.CTC if info.beam_size > 1 and info.ctc_weight else None,
        )


def bare_language(tag: str) -> str:
    """The language of a tag: `en` of `en-US` or `EN_us`."""
    return tag.strip().replace("_", "-").partition("-")[0].lower()


def resolve(name: str, models: ModelsConfig | None = None) -> Path:
    """The folder that a `model.name` setting means.

    A name of the catalog is that model, whatever folders there are; else an existing folder is itself; else a
    repository of the hub is the model that was pulled from there.

    Args:
        name: As the user wrote it.
        models: Where pulled models are; None means the defaults.

    Raises:
        ModelNotFoundError: It is none of these, or was not pulled.
        ModelCorruptError: It was, but is not whole any more.
    """
    if name == EMBEDDED:
        return Path(str(files("ears_edge.models") / "embedded"))
    path = Path(name).expanduser()
    reference = catalog.find(name)
    if path.is_dir() and (reference is None or reference.entry is None):
        return path
    if reference is None:
        raise ModelNotFoundError(
            f"model.name = {name!r}: neither a folder nor a model's name, such as {EMBEDDED}; "
            "`ears-edge models list` shows them. owner/repo of the hub works as well, or the path of a "
            "folder in the onnx-asr layout (encoder-model, decoder_joint-model, vocab.txt, config.json)."
        )
    store = Store(models or ModelsConfig())
    found = store.find(reference)
    if found is None:
        raise ModelNotFoundError(
            f"model.name = {name!r}: {'no such folder, and ' if reference.entry is None else ''}not pulled "
            f"yet: {store.folder(reference)} holds no model. Fetch it: ears-edge models pull {reference.name}"
        )
    for fault in found.obvious_faults():
        raise ModelCorruptError(
            f"{found.folder / fault.name}: {fault.problem}. Mend it: ears-edge models pull {reference.name}"
        )
    return found.folder


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _pick(folder: Path, stem: str) -> Path:
    if found := _first(folder, layout.graphs(stem)):
        return found
    raise ModelNotFoundError(
        f"{folder / stem}.int8.onnx: missing, and {stem}.onnx too. Fetch the model again."
    )


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ModelCorruptError(f"{path}: larger than {MAX_TEXT_BYTES} bytes; expected a text file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ModelNotFoundError(f"{path}: missing. Fetch the model again.") from exc
    except UnicodeDecodeError as exc:
        raise ModelCorruptError(f"{path}: not UTF-8 text. Fetch the model again.") from exc


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """`vocab.txt`: the pieces by token id.

    Raises:
        ModelNotFoundError: It is missing.
        ModelCorruptError: It can't be read.
        ModelMismatchError: It is that of another kind of model.
    """
    pieces: list[str] = []
    for number, line in enumerate(_read_text(path).removesuffix("\n").split("\n")):
        match = re.fullmatch(r"(\S+) (\d+)", line)
        if match is None or int(match[2]) != number:
            raise ModelCorruptError(f"{path}, line {number + 1}: expected a piece, a blank and {number}.")
        pieces.append(match[1])
    if pieces.count(BLANK) != 1 or pieces[-1] != BLANK:
        raise ModelMismatchError(f"{path}: expected the piece {BLANK} once, as the last line.")
    if UNKNOWN not in pieces:
        raise ModelMismatchError(f"{path}: expected the piece {UNKNOWN}.")
    if len(set(pieces)) != len(pieces):
        twice = next(piece for piece in pieces if pieces.count(piece) > 1)
        raise ModelCorruptError(f"{path}: the piece {twice!r} stands there twice. Fetch the model again.")
    return tuple(pieces)


def read_config(path: Path) -> ModelConfig:
    """`config.json`.

    Raises:
        ModelNotFoundError: It is missing.
        ModelCorruptError: It can't be read.
        ModelMismatchError: It is that of another kind of model.
    """
    try:
        config = to_typed(parse_json_object(_read_text(path)), ModelConfig)
    except ShapeError as exc:
        raise ModelCorruptError(f"{path}: {exc}. Fetch the model again.") from exc
    if config.model_type != MODEL_TYPE:
        raise ModelMismatchError(
            f"{path}: model_type is {config.model_type!r}; this engine runs {MODEL_TYPE!r}."
        )
    return config


def _read_info(folder: Path) -> ModelInfo:
    path = folder / "model.json"
    if not path.is_file():
        return ModelInfo(name=folder.name)
    try:
        return to_typed(parse_json_object(_read_text(path)), ModelInfo)
    except ShapeError as exc:
        raise ModelCorruptError(f"{path}: {exc}.") from exc
