"""Texts as rows of tokens, two crops of a row, and tokens hidden in them: what pretraining looks at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from multirate_core.models import doc_net

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROW_TOKENS: Final = 256  # longer than the network takes: it sees crops
SHORTEST_ROW: Final = 18  # its third is the shortest crop
SHORTEST_CROP: Final = 10
CROP_TOKENS: Final = 64


def token_rows(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the texts as tokens without [CLS], long ones in pieces of ROW_TOKENS, without rows that are too short."""
    encoded = [text.ids for text in tokenizer.encode_batch(texts, add_special_tokens=False)]
    pieces = (ids[start : start + ROW_TOKENS] for ids in encoded for start in range(0, len(ids), ROW_TOKENS))
    return [piece for piece in pieces if len(piece) >= SHORTEST_ROW]


def two_crops(row: Sequence[int], generator: torch.Generator) -> tuple[list[int], list[int]]:
    """Cut a row in its middle third and return a stretch of each side, both after [CLS].

    Args:
        row: at least SHORTEST_ROW tokens.
        generator: the only source of randomness.

    Returns:
        CROP_TOKENS tokens at most and six at least, or all that there are on that side; beside them [CLS].
    """
    third = len(row) // 3
    place = _between(third, len(row) - third, generator)
    return _crop(row[:place], generator), _crop(row[place:], generator)


def _crop(tokens: Sequence[int], generator: torch.Generator) -> list[int]:
    longest = min(len(tokens), CROP_TOKENS)
    length = _between(min(len(tokens), SHORTEST_CROP), longest, generator)
    start = _between(0, len(tokens) - length, generator)
    return [doc_net.CLS_ID, *tokens[start : start + length]]


def _between(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


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


def batches(rows: Sequence[list[int]], batch_size: int, generator: torch.Generator) -> Iterator[list[list[int]]]:
    """Yield batches without end, in every epoch each row once but for those that do not fill a batch."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield [rows[number] for number in order[start : start + batch_size]]


def pad(rows: Sequence[list[int]]) -> Tensor:
    """Return rows as int64 (B, L), filled up with [PAD] to the longest."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=doc_net.PAD_ID)
