"""Texts turned into token numbers once: the numbers are kept in the user data folder for the next race."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from multirate_core.data.texts import TextRows, TextSplit, TokenTable
from multirate_core.errors import DataError
from multirate_core.home import subfolder
from multirate_core.models.tokenizer import TextTokenizer

KEPT_FILES: Final = 20  # the newest ones
_CHUNK: Final = 2_000  # texts between two reports
_FOLDER: Final = "tokens"


def tokenized(rows: TextRows, tokenizer: TextTokenizer, max_tokens: int, say: Callable[[str], None]) -> TextSplit:
    """Turn every text into at most `max_tokens` token numbers, or read what was kept of an earlier time.

    Raises:
        DataError: a text without any token.
    """
    texts = [*rows.train_texts, *rows.test_texts]
    path = subfolder(_FOLDER) / f"{_key(texts, tokenizer, max_tokens)}.safetensors"
    table = _read(path)
    if table is None:
        table = _encoded(texts, tokenizer, max_tokens, say)
        _keep(path, table)
    lengths = table.lengths()
    if not bool(lengths.all()):
        text = texts[int(lengths.argmin())]
        raise DataError(f"the text {text[:80]!r} has no token that the network knows. Remove it.")
    cut = int((lengths >= max_tokens).sum())
    note = (f"{cut:,} of {len(texts):,} texts have {max_tokens} tokens or were cut there.",) if cut else ()
    count = len(rows.train_texts)
    return TextSplit(
        train_tokens=_part(table, 0, count),
        train_labels=torch.tensor(list(rows.train_labels), dtype=torch.int64),
        test_tokens=_part(table, count, len(texts)),
        test_labels=torch.tensor(list(rows.test_labels), dtype=torch.int64),
        pad_id=tokenizer.pad_id,
        class_names=rows.class_names,
        notes=(*rows.notes, *note),
    )


def _encoded(texts: Sequence[str], tokenizer: TextTokenizer, max_tokens: int, say: Callable[[str], None]) -> TokenTable:
    parts: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    lengths: list[int] = []
    for first in range(0, len(texts), _CHUNK):
        say(f"Tokenizing: {first:,} of {len(texts):,} texts")
        rows = tokenizer.encode(texts[first : first + _CHUNK], max_tokens)
        lengths += [len(row) for row in rows]
        parts.append(np.fromiter((token for row in rows for token in row), dtype=np.int32))
    starts = torch.zeros(len(texts) + 1, dtype=torch.int64)
    torch.cumsum(torch.tensor(lengths, dtype=torch.int64), 0, out=starts[1:])
    return TokenTable(torch.from_numpy(np.concatenate(parts)), starts)


def _part(table: TokenTable, first: int, last: int) -> TokenTable:
    starts = table.starts[first : last + 1]
    return TokenTable(table.ids[int(starts[0]) : int(starts[-1])], starts - starts[0])


def _key(texts: Sequence[str], tokenizer: TextTokenizer, max_tokens: int) -> str:
    digest = hashlib.sha256(f"{tokenizer.digest} {max_tokens}".encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


def _read(path: Path) -> TokenTable | None:
    """Return what was kept; None if there is nothing, or it is damaged."""
    try:
        kept: dict[str, Tensor] = load_file(path)
        path.touch()
        return TokenTable(kept["ids"], kept["starts"])
    except (OSError, SafetensorError, KeyError):
        return None


def _keep(path: Path, table: TokenTable) -> None:
    """Write all or nothing, and let the oldest files go; without it the next race only takes longer to start."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        save_file({"ids": table.ids, "starts": table.starts}, partial)
        partial.replace(path)
        files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in files[KEPT_FILES:]:
            old.unlink(missing_ok=True)
    except (OSError, SafetensorError):
        partial.unlink(missing_ok=True)
