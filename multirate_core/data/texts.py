"""Texts in memory: rows with their labels as they were read, and the same rows as token numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TextRows:
    """A text data set as its files hold it, split into training and test rows. No torch.

    Args:
        train_texts, test_texts: none of them empty.
        train_labels, test_labels: places in `class_names`, as long as the texts.
        class_names: in the order of the labels.
        notes: what a reader of the results should know about the data.
    """

    train_texts: Sequence[str]
    train_labels: Sequence[int]
    test_texts: Sequence[str]
    test_labels: Sequence[int]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TokenTable:
    """Texts of different lengths as one row of token numbers: text i is `ids[starts[i]:starts[i + 1]]`.

    Args:
        ids: int32 (T,), all tokens of all texts.
        starts: int64 (N + 1,), rising; the last one is T.
    """

    ids: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> Tensor:
        """Return the tokens of every text, int64 (N,)."""
        return self.starts[1:] - self.starts[:-1]


@dataclass(frozen=True)
class TextSplit:
    """Texts as the network takes them.

    Args:
        train_tokens, test_tokens: one row per text.
        train_labels, test_labels: int64 (N,), places in `class_names`.
        pad_id: the token that fills short rows of a batch.
        class_names: of the data; the head may be larger.
        notes: what a reader of the results should know about the data.
    """

    train_tokens: TokenTable
    train_labels: Tensor
    test_tokens: TokenTable
    test_labels: Tensor
    pad_id: int
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
