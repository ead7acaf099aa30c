"""Texts as rows of tokens, batches of them, and tokens hidden in them: what masked-language modelling trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from multirate_core.models import doc_net

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POOL: Final = 32  # batches whose rows are sorted by length together, so that little is padding


def token_rows(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the texts as tokens, long ones in pieces of MAX_TOKENS that begin with [CLS] as well."""
    rows = []
    for text in tokenizer.encode_batch(texts, add_special_tokens=False):
        step = doc_net.MAX_TOKENS - 1
        rows += [[doc_net.CLS_ID, *text.ids[start : start + step]] for start in range(0, len(text.ids), step)]
    return rows


def mask(input_ids: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose tokens to be guessed and hide 80 % of them, put a random token for 10 %, leave 10 % as they are.

    Args:
        input_ids: int64 (B, L), not changed; special tokens are never chosen.
        fraction: of the other tokens that are chosen, in (0, 1).
        generator: the only source of randomness.

    Returns:
        The tokens to show, int64 (B, L), and which are to be guessed, bool (B, L).
    """
    special = len(doc_net.SPECIAL_TOKENS)
    chosen = (torch.rand(input_ids.shape, generator=generator) < fraction) & (input_ids >= special)
    fate = torch.rand(input_ids.shape, generator=generator)
    others = torch.randint(special, doc_net.VOCABULARY, input_ids.shape, generator=generator)
    shown = torch.where(chosen & (fate < 0.8), doc_net.MASK_ID, input_ids)
    return torch.where(chosen & (fate >= 0.9), others, shown), chosen


def batches(rows: Sequence[list[int]], batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches without end, int64 (batch_size, L), filled up with [PAD]; rows of a batch have similar lengths."""
    pool = min(POOL * batch_size, len(rows) // batch_size * batch_size)
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order) - pool + 1, pool):
            drawn = sorted(order[start : start + pool], key=lambda number: len(rows[number]))
            for batch in torch.randperm(pool // batch_size, generator=generator).tolist():
                yield pad([rows[number] for number in drawn[batch * batch_size : (batch + 1) * batch_size]])


def pad(rows: Sequence[list[int]]) -> Tensor:
    """Return rows as int64 (B, L), filled up with [PAD] to the longest."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=doc_net.PAD_ID)
