"""A model as a folder in the onnx-asr layout: which files it has, and what they say of themselves."""

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

from ears_edge.errors import ModelCorruptError, ModelMismatchError, ModelNotFoundError
from ears_edge.typed import Bounds, ShapeError, parse_json_object, to_typed

EMBEDDED: Final = "embedded"
"""The name by which the settings ask for the model in the wheel."""
MODEL_TYPE: Final = "nemo-conformer-tdt"
BLANK: Final = "<blk>"
UNKNOWN: Final = "<unk>"
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
    pieces: tuple[str, ...]
    """The vocabulary by token id; white space is written as U+2581; blank is the last."""
    config: ModelConfig
    info: ModelInfo

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
        pieces = _read_vocabulary(path / "vocab.txt")
        return cls(
            path=path,
            encoder=_pick(path, "encoder-model"),
            decoder_joint=_pick(path, "decoder_joint-model"),
            pieces=pieces,
            config=_read_config(path / "config.json"),
            info=_read_info(path),
        )


def resolve(name: str) -> Path:
    """The folder that a `model.name` setting means.

    Raises:
        ModelNotFoundError: It is neither `embedded` nor a folder.
    """
    if name == EMBEDDED:
        return Path(str(files("ears_edge.models") / "embedded"))
    path = Path(name).expanduser()
    if not path.is_dir():
        raise ModelNotFoundError(
            f"model.name = {name!r}: neither `{EMBEDDED}` nor a folder. Give the path of a folder in the "
            "onnx-asr layout (encoder-model, decoder_joint-model, vocab.txt, config.json)."
        )
    return path


def _pick(folder: Path, stem: str) -> Path:
    """INT8 before float: it is what a small box can carry."""
    for name in (f"{stem}.int8.onnx", f"{stem}.onnx"):
        if (folder / name).is_file():
            return folder / name
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


def _read_vocabulary(path: Path) -> tuple[str, ...]:
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


def _read_config(path: Path) -> ModelConfig:
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
