"""Small numbers as few bytes, and back: a sequence of group numbers as bits or as runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from multirate_core.errors import PartitionError

_MAX_NUMBER_BYTES = 5


def write_number(number: int) -> bytes:
    """Return a whole number >= 0 in groups of seven bits, the lowest first; the eighth bit says that more follow."""
    out = bytearray()
    while number > 127:
        out.append(128 | number & 127)
        number >>= 7
    return bytes([*out, number])


def read_number(stream: Iterator[int]) -> int:
    """Read what `write_number` wrote; PartitionError if the bytes end or do not end."""
    number = 0
    for place in range(_MAX_NUMBER_BYTES):
        byte = next(stream, None)
        if byte is None:
            break
        number |= (byte & 127) << (7 * place)
        if byte < 128:
            return number
    raise _damaged()


def pack(symbols: list[int], kinds: int) -> bytes:
    """Return the symbols, each 0 to kinds - 1, in as many bits as the largest needs."""
    width, packed = (kinds - 1).bit_length(), 0
    for symbol in reversed(symbols):
        packed = packed << width | symbol
    return packed.to_bytes((width * len(symbols) + 7) // 8, "little")


def unpack(stream: Iterator[int], length: int, kinds: int) -> list[int]:
    """Read `length` symbols that `pack` wrote; PartitionError if they do not fit."""
    width = (kinds - 1).bit_length()
    size = (width * length + 7) // 8
    raw = bytes(itertools.islice(stream, size))
    packed = int.from_bytes(raw, "little")
    symbols = [packed >> (width * place) & ((1 << width) - 1) for place in range(length)]
    if len(raw) != size or packed >> (width * length) or any(symbol >= kinds for symbol in symbols):
        raise _damaged()
    return symbols


def pack_runs(symbols: list[int], kinds: int) -> bytes:
    """Return the symbols as runs: one number per run, its length times `kinds` plus its symbol."""
    runs = ((symbol, len(list(run))) for symbol, run in itertools.groupby(symbols))
    return b"".join(write_number(length * kinds + symbol) for symbol, length in runs)


def unpack_runs(stream: Iterator[int], length: int, kinds: int) -> list[int]:
    """Read `length` symbols that `pack_runs` wrote; PartitionError if they do not fit."""
    symbols: list[int] = []
    while len(symbols) < length:
        run, symbol = divmod(read_number(stream), kinds)
        if not 1 <= run <= length - len(symbols):
            raise _damaged()
        symbols += [symbol] * run
    return symbols


def _damaged() -> PartitionError:
    return PartitionError("the link is damaged: its parts do not fit together. Copy it again.")
