"""Arrays of numbers from MATLAB's .mat files (version 5 to 7), and nothing else that such a file may hold.

scipy's reader ends the process on some damaged files, by reading memory that is not its own.

Source: "MAT-File Format", MathWorks, the chapter on level 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from multirate_core.errors import DataError

_HEADER_BYTES: Final = 128
_COMPRESSED: Final = 15
_MATRIX: Final = 14
_INT8: Final = 1
_INT32: Final = 5
_UINT32: Final = 6
# Number of a type of elements -> its numpy type, without the byte order.
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMBER_CLASSES: Final = range(6, 16)  # of arrays: double to uint64; below are cells, structures, texts
_COMPLEX: Final = 0x0800
_MOST_BYTES: Final = 1 << 30  # of an array that is unpacked; SVHN's largest part has a quarter of that

Element = tuple[int, memoryview]
_NOTHING: Final[Element] = (0, memoryview(b""))


def read_matrices(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Read arrays of real numbers from a .mat file.

    Args:
        path: of the file.
        names: of the arrays.

    Returns:
        The arrays by name, in the types and shapes in which they are stored.

    Raises:
        DataError: the file is damaged or of another format, or an array is missing or holds no real numbers.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        for name, array in _arrays(memoryview(path.read_bytes()), names):
            found[name] = array
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read as a .mat file of version 5: {error}. Get the official file."
        ) from error
    for name in names:
        if name not in found:
            raise DataError(f"{path} holds no array of numbers named {name!r}. Get the official file.")
    return found


def _arrays(content: memoryview, names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of these names; ValueError if something does not fit its place."""
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:_HEADER_BYTES]))
    if order is None:
        raise ValueError("it has no such header")
    for kind, data in _elements(content[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(_unpacked(data), order), _NOTHING)
        if kind == _MATRIX and (array := _array(data, order, names)):
            yield array


def _elements(content: memoryview, order: str) -> Iterator[Element]:
    """Yield (type, contents) of the elements one after the other; small ones have both in their first 8 bytes."""
    place = 0
    while place < len(content):
        if len(content) - place < 8:
            raise ValueError("it is cut off")
        kind, size = (int(word) for word in np.frombuffer(content[place : place + 8], f"{order}u4"))
        small = kind >> 16
        first = place + (4 if small else 8)
        kind, size = (kind & 0xFFFF, small) if small else (kind, size)
        if first + size > len(content) or small > 4:
            raise ValueError("it is cut off, or a size in it is wrong")
        yield kind, content[first : first + size]
        place = place + 8 if small else first + size + (0 if kind == _COMPRESSED else -size % 8)


def _unpacked(data: memoryview) -> memoryview:
    packed = zlib.decompressobj()
    content = packed.decompress(data, _MOST_BYTES)
    if not packed.eof:
        raise ValueError(f"an array in it is cut off, or takes more than {_MOST_BYTES >> 30} GiB")
    return memoryview(content)


def _array(data: memoryview, order: str, names: tuple[str, ...]) -> tuple[str, NDArray[Any]] | None:
    """Return the name and the numbers of an array; None if it has another name or holds no real numbers."""
    parts = _elements(data, order)
    flags, shape, name = (_numbers(next(parts, _NOTHING), order, kind) for kind in (_UINT32, _INT32, _INT8))
    title = name.tobytes().decode("latin-1")
    if title not in names or not len(flags) or int(flags[0]) & 0xFF not in _NUMBER_CLASSES or int(flags[0]) & _COMPLEX:
        return None
    kind, content = next(parts, _NOTHING)
    numbers = _numbers((kind, content), order, kind)
    sizes = [int(size) for size in shape]
    if min(sizes, default=-1) < 0 or math.prod(sizes) != len(numbers) or len(sizes) > 32:
        raise ValueError(f"the array {title!r} of the shape {sizes[:8]} has {len(numbers)} numbers")
    return title, numbers.reshape(sizes, order="F")


def _numbers(element: Element, order: str, wanted: int) -> NDArray[Any]:
    kind, content = element
    if kind != wanted or kind not in _NUMBERS:
        raise ValueError(f"an element of type {kind} stands where numbers are needed")
    return np.frombuffer(content, np.dtype(order + _NUMBERS[kind]))
