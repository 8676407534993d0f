"""Untyped data (JSON, TOML tables, environment strings) -> typed values, or one clear error.

The only module that imports msgspec. Targets are frozen dataclasses; `Annotated[int, Bounds(ge=1)]` gives
limits that are checked here.
"""

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

Bounds = msgspec.Meta
"""Limits for a field: `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern`."""


class ShapeError(ValueError):
    """The data has not the shape asked for; the text says where and why (never the data itself)."""


def parse_json(text: str | bytes | bytearray | memoryview) -> object:
    """Any JSON text -> plain Python values.

    Raises:
        ShapeError: It is not JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ShapeError(_reason(exc)) from exc


def parse_json_object(text: str | bytes | bytearray | memoryview) -> "dict[str, Any]":
    """A JSON object -> dict.

    Raises:
        ShapeError: It is not JSON, or not an object.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ShapeError(_reason(exc)) from exc


def to_typed(data: "Mapping[str, object]", target: type[T], *, from_text: bool = False) -> T:
    """A table -> an instance of `target` (a dataclass). Unknown members are ignored.

    Args:
        data: Plain values, as `parse_json_object` gives them.
        target: The dataclass.
        from_text: Also read numbers and booleans from strings, as an environment gives them.

    Raises:
        ShapeError: A member is missing, of the wrong type, or out of its bounds.
    """
    try:
        return msgspec.convert(data, type=target, strict=not from_text)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise ShapeError(_reason(exc)) from exc


def to_json(value: object) -> str:
    """Plain values or dataclasses -> one line of JSON, non-ASCII characters kept."""
    return msgspec.json.encode(value).decode()


def _reason(exc: Exception) -> str:
    return "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
