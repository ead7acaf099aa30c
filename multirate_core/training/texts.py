"""Batches of texts: rows of different lengths, padded to the longest one in the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from multirate_core.data.texts import TextSplit, TokenTable
from multirate_core.training.samples import Inputs

PAD_TO = 8  # lengths are rounded up to a multiple: fewer kinds of batches, and what matrix units like


class Texts:
    """One part of a text data set, on the device: token numbers are small.

    Args:
        tokens: one row per text, none of them empty.
        labels: int64 (N,).
        pad_id: fills short rows; the attention mask leaves it out.
        device: where batches are wanted.
        fixed_length: pads every batch to so many tokens (a compiled network has one graph per shape); None pads to
            the longest row of the batch.
    """

    def __init__(
        self, tokens: TokenTable, labels: Tensor, pad_id: int, device: torch.device, fixed_length: int | None = None
    ) -> None:
        self.device = device
        self._ids = tokens.ids.to(device)
        self._starts = tokens.starts[:-1].to(device)
        self._lengths = tokens.lengths().to(device)
        self._labels = labels.to(device)
        self._pad_id = pad_id
        self._fixed_length = fixed_length
        self._longest = int(tokens.lengths().max())

    def __len__(self) -> int:
        return len(self._labels)

    def place_rows(self, rows: Tensor) -> Tensor:
        """Return row numbers on the device on which `batch` will look them up."""
        return rows.to(self.device)

    def values_each(self) -> int:
        """Return the tokens of the longest text."""
        return self._longest

    def batch(self, rows: Tensor | slice) -> tuple[Inputs, Tensor]:
        """Return {"input_ids", "attention_mask"}, int64 (B, L), and labels (B,), all on the device."""
        lengths = self._lengths[rows]
        places = torch.arange(self._fixed_length or _rounded(lengths), device=self.device)
        real = places < lengths[:, None]  # (B, L)
        where = (self._starts[rows][:, None] + places).clamp_(max=len(self._ids) - 1)
        ids = torch.where(real, self._ids[where].long(), self._pad_id)
        return {"input_ids": ids, "attention_mask": real.long()}, self._labels[rows]


def longest(split: TextSplit) -> int:
    """Return a length to which every text of both parts can be padded."""
    return max(_rounded(split.train_tokens.lengths()), _rounded(split.test_tokens.lengths()))


def _rounded(lengths: Tensor) -> int:
    return -(-int(lengths.max()) // PAD_TO) * PAD_TO
