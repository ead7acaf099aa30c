"""Reads the pickles that CIFAR comes in without running any code from them.

A pickle is a small program. This reader knows the few names that arrays are stored with and hands out its own harmless
stand-ins for them, so that neither Python's import nor numpy's own unpickling is ever reached.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from multirate_core.errors import DataError

ByteArray = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class _DtypeRecord:
    """Stands in for numpy.dtype: keeps the name, ignores the state."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name

    def __setstate__(self, _: object) -> None:
        pass


class _ArrayRecord:
    """Stands in for numpy.ndarray: takes the shape and the bytes of an array of unsigned bytes, and nothing else."""

    def __init__(self, *_: object) -> None:
        self.array: ByteArray = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _DtypeRecord) or dtype.name != "u1" or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of another type than unsigned bytes")
        order: Any = "F" if is_fortran else "C"
        self.array = np.frombuffer(data, dtype=np.uint8).reshape(shape, order=order)


class _ArrayClass:
    """Stands in for the class numpy.ndarray, which is only ever named."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for codecs.encode, by which Python 3 writes bytes into old pickle formats."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_KNOWN: Final[dict[tuple[str, str], Callable[..., Any] | type]] = {
    ("numpy", "dtype"): _DtypeRecord,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy.core.multiarray", "_reconstruct"): _ArrayRecord,
    ("numpy._core.multiarray", "_reconstruct"): _ArrayRecord,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves only the names in _KNOWN."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, or refuse it."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:200]) from None


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a dict of arrays of unsigned bytes, lists, numbers and text, written by Python 2 or 3.

    Raises:
        DataError: the file is missing, damaged, holds anything else, or asks for code to be run.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except FileNotFoundError as error:
        raise DataError(f"the file {path} is missing. Check the path.") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is refused: it is damaged, or no plain data ({error}). Get the official file."
        ) from error
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError, OverflowError) as error:
        raise DataError(f"{path} cannot be read: {error or type(error).__name__}. Get the official file.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}, must be a dict. Get the official file.")
    return {_text(key): _plain(value) for key, value in content.items()}


def _plain(value: Any) -> Any:
    """Return the array behind a record, and text for the byte strings of Python 2."""
    if isinstance(value, _ArrayRecord):
        return value.array
    if isinstance(value, list):
        return [_text(item) for item in value]
    return _text(value)


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value
