"""A partition as a short text for a URL: about 15 characters for a preset, up to 100 for an unruly split of ResNet-152.

base64url of: a head byte (version and layout), 2 bytes of the network's fingerprint, 3 bytes of a check sum over the
names of the parameters and all that follows, then the body: a table of the groups, and the group of every parameter in
the shortest of eight layouts: one symbol per parameter or per layer, as bits or as runs, deflated or not. Rates that
are not the usual ones (a group's lr_factor, its phases) follow the table as text.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace

from multirate_core.config import GroupSpec
from multirate_core.errors import ConfigError, PartitionError
from multirate_core.layers.tree import LayerTree
from multirate_core.partition.partition import MAX_GROUPS, Partition, require_fit
from multirate_core.partition.phases import read_phases, write_phases
from multirate_core.partition.symbols import pack, pack_runs, read_number, unpack, unpack_runs, write_number

VERSION = 1
PER_LAYER, RUNS, DEFLATED, RATES = 1, 2, 4, 8  # flags of the layout, in the head byte's lower half
MAX_CHARACTERS = 16_000
_MAX_BODY_BYTES = 64_000
_USUAL_NAMES = ("fast", "slow")


def encode(partition: Partition, tree: LayerTree) -> str:
    """Return the shortest text; `decode` with a tree of the same parameter names gives an equal partition back.

    Raises:
        PartitionError: the partition does not fit the network, or needs more than 16,000 characters.
    """
    require_fit(partition, tree)
    place = {group.name: number for number, group in enumerate(partition.groups)}
    symbols = [place[partition.assignment[parameter.name]] for parameter in tree.trainable()]
    rates = _write_rates(partition.groups)
    table = _write_groups(partition.groups) + rates
    flag = RATES if rates else 0
    packets = (_seal(layout | flag, body, tree) for layout, body in _layouts(table, symbols, len(place), tree))
    text = base64.urlsafe_b64encode(min(packets, key=len)).decode().rstrip("=")
    if len(text) > MAX_CHARACTERS:
        raise PartitionError("the partition is too large for a link. Save it as a file instead.")
    return text


def decode(text: str, tree: LayerTree) -> Partition:
    """Read a link's text.

    Raises:
        PartitionError: overlong, damaged, or made for another model.
    """
    layout, body = _open(_to_bytes(text), tree)
    if layout & DEFLATED:
        body = _inflate(body)
    stream = iter(body)
    groups = _read_groups(stream)
    if layout & RATES:
        groups = _read_rates(stream, groups)
    names = [parameter.name for parameter in tree.trainable()]
    lengths = _layer_lengths(tree) if layout & PER_LAYER else [1] * len(names)
    read = unpack_runs if layout & RUNS else unpack
    symbols = read(stream, len(lengths), len(groups))
    if next(stream, None) is not None:
        raise PartitionError("the link is damaged: it holds more than a partition. Copy it again.")
    owners = itertools.chain.from_iterable(itertools.repeat(s, n) for s, n in zip(symbols, lengths, strict=True))
    return Partition(groups, {name: groups[number].name for name, number in zip(names, owners, strict=True)})


def is_for_another_network(text: str, tree: LayerTree) -> bool:
    """Tell whether a link names another network than this one; False for one that is damaged."""
    try:
        packet = _to_bytes(text)
    except PartitionError:
        return False
    return len(packet) >= 7 and packet[0] >> 4 == VERSION and packet[1:3] != _mark(tree)


def _layouts(table: bytes, symbols: list[int], kinds: int, tree: LayerTree) -> Iterator[tuple[int, bytes]]:
    """Yield every layout that can hold the partition: flags and body."""
    sequences = [(0, symbols)]
    ends = list(itertools.accumulate(_layer_lengths(tree), initial=0))
    layers = [symbols[low:high] for low, high in itertools.pairwise(ends)]
    if all(len(set(layer)) == 1 for layer in layers):
        sequences.append((PER_LAYER, [layer[0] for layer in layers]))
    for flags, sequence in sequences:
        for shape, write in ((0, pack), (RUNS, pack_runs)):
            body = table + write(sequence, kinds)
            yield flags | shape, body
            yield flags | shape | DEFLATED, zlib.compress(body, 9, wbits=-15)


def _layer_lengths(tree: LayerTree) -> list[int]:
    """Return how many trainable parameters each layer has that has any."""
    owners = (parameter.name.rpartition(".")[0] for parameter in tree.trainable())
    return [len(list(names)) for _, names in itertools.groupby(owners)]


def _seal(layout: int, body: bytes, tree: LayerTree) -> bytes:
    head = bytes([VERSION << 4 | layout])
    return head + _mark(tree) + _checksum(head + body, tree) + body


def _mark(tree: LayerTree) -> bytes:
    return bytes.fromhex(tree.fingerprint)[:2]


def _open(packet: bytes, tree: LayerTree) -> tuple[int, bytes]:
    if len(packet) < 7:
        raise PartitionError("the link is damaged: it is too short. Copy it again.")
    head, mark, checksum, body = packet[:1], packet[1:3], packet[3:6], packet[6:]
    if head[0] >> 4 != VERSION:
        raise PartitionError("the link is damaged, or of another version of this program. Copy it again.")
    if mark != _mark(tree):
        raise PartitionError(f"the link was made for another model than {tree.model!r}. Choose that model first.")
    if checksum != _checksum(head + body, tree):
        raise PartitionError("the link is damaged: its check sum is wrong. Copy it again.")
    return head[0] & 15, body


def _checksum(content: bytes, tree: LayerTree) -> bytes:
    names = "\n".join(parameter.name for parameter in tree.trainable())
    return zlib.crc32(names.encode("utf-8", "surrogatepass") + content).to_bytes(4, "big")[1:]


def _to_bytes(text: str) -> bytes:
    if len(text) > MAX_CHARACTERS:
        raise PartitionError(f"a link has at most {MAX_CHARACTERS:,} characters, got {len(text):,}. Copy it again.")
    if re.fullmatch(r"[A-Za-z0-9_-]*", text) is None:
        raise PartitionError("the link is damaged: it holds characters that no link has. Copy it again.")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise PartitionError("the link is damaged: its length is wrong. Copy it again.") from error


def _inflate(body: bytes) -> bytes:
    """Inflate at most 64 kB, whatever the link says."""
    stream = zlib.decompressobj(wbits=-15)
    try:
        content = stream.decompress(body, _MAX_BODY_BYTES)
    except zlib.error as error:
        raise PartitionError("the link is damaged: it cannot be unpacked. Copy it again.") from error
    if not stream.eof or stream.unused_data:
        raise PartitionError("the link is damaged: it unpacks to more or less than a partition. Copy it again.")
    return content


def _write_groups(groups: tuple[GroupSpec, ...]) -> bytes:
    """Write the number of groups, then period and name of each; 0 groups stands for the usual pair, fast and slow."""
    if tuple(group.name for group in groups) == _USUAL_NAMES and groups[0].period == 1:
        return b"\x00" + write_number(groups[1].period)
    return bytes([len(groups)]) + b"".join(write_number(group.period) + _write_name(group.name) for group in groups)


def _write_name(name: str) -> bytes:
    raw = name.encode("utf-8")
    return write_number(len(raw)) + raw


def _read_groups(stream: Iterator[int]) -> tuple[GroupSpec, ...]:
    count = read_number(stream)
    if count > MAX_GROUPS:
        raise PartitionError(f"the link is damaged: it names {count} groups. Copy it again.")
    try:
        if count == 0:
            return GroupSpec(_USUAL_NAMES[0], 1), GroupSpec(_USUAL_NAMES[1], read_number(stream))
        return tuple(_read_group(stream) for _ in range(count))
    except PartitionError:
        raise
    except UnicodeDecodeError as error:
        raise PartitionError("the link is damaged: the name of a group is no UTF-8 text. Copy it again.") from error
    except ConfigError as error:
        raise PartitionError(f"the link is damaged: {error} Copy it again.") from error


def _read_group(stream: Iterator[int]) -> GroupSpec:
    period = read_number(stream)
    raw = bytes(itertools.islice(stream, read_number(stream)))
    return GroupSpec(raw.decode("utf-8"), period)


def _write_rates(groups: tuple[GroupSpec, ...]) -> bytes:
    """Write "number×factor×phases" of each group with rates of its own, after the length of all; b"" without any."""
    parts = [
        f"{number}x{'' if group.lr_factor == 1 else repr(group.lr_factor)}x{write_phases(group.phases)}"
        for number, group in enumerate(groups)
        if group.lr_factor != 1 or group.phases
    ]
    raw = ";".join(parts).encode("ascii")
    return write_number(len(raw)) + raw if parts else b""


def _read_rates(stream: Iterator[int], groups: tuple[GroupSpec, ...]) -> tuple[GroupSpec, ...]:
    """Read what `_write_rates` wrote; return the groups with these rates."""
    raw = bytes(itertools.islice(stream, read_number(stream)))
    changed = list(groups)
    try:
        for part in raw.decode("ascii").split(";"):
            number, factor, phases = part.split("x")
            place = int(number)
            rates = {"lr_factor": float(factor or 1.0), "phases": read_phases(phases)}
            changed[place] = replace(groups[place], **rates)  # type: ignore[arg-type]
    except (ValueError, IndexError) as error:  # also ConfigError and what is no ASCII
        raise PartitionError("the link is damaged: the rates of its groups cannot be read. Copy it again.") from error
    return tuple(changed)
