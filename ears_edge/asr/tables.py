"""Tables that lie beside a model as a file of numpy's: opened without trust, closed in any case."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ears_edge.errors import ModelCorruptError, ModelNotFoundError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024

Array = npt.NDArray[Any]


@contextmanager
def tables(path: Path, setting: str) -> Iterator[Mapping[str, Array]]:
    """The arrays of an `.npz` by name, to make something of; `setting`, in model.json, asks for them.

    Raises:
        ModelNotFoundError: The file is missing.
        ModelCorruptError: It can't be read, or what is made of it raised ValueError or KeyError.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelCorruptError(f"{path}: larger than {MAX_FILE_BYTES} bytes; expected tables.")
        # A file of its own, since numpy leaves one open that it opened and can't read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except FileNotFoundError as exc:
        raise ModelNotFoundError(
            f"{path}: missing. Fetch the model again, or set {setting} in its model.json to 0."
        ) from exc
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelCorruptError(f"{path}: {exc}. Fetch the model again.") from exc
