"""The small transformer of the offline text pair, with the tokenizer and weights that this project trained itself.

About 1.6 million parameters, for texts of up to 128 tokens. Both come from `pretrain_doc_net` (documentation of
Python's standard library and of installed packages) and lie beside this file; `assets/doc_net.json` says how they were
made.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ASSET_PATH: Final = Path(__file__).parent / "assets" / "doc_net.safetensors"
RECORD_PATH: Final = ASSET_PATH.with_suffix(".json")
TOKENIZER_PATH: Final = ASSET_PATH.with_name("doc_net_tokenizer.json")
SHA256: Final = "6207e56ad6d2e12d9ed6b0aa771870e9b05e6637c6f13be98783a27de6ede5e7"  # of the weights
TOKENIZER_SHA256: Final = "1c064b723993a5993d5d460970778c48ea5567465978c8ecabd7148b55b79197"
SPECIAL_TOKENS: Final = ("[PAD]", "[CLS]", "[MASK]")  # the tokenizer's first tokens, in this order
PAD_ID: Final = 0
CLS_ID: Final = 1
MASK_ID: Final = 2
VOCABULARY: Final = 6000
MAX_TOKENS: Final = 128
WIDTH: Final = 128
HEADS: Final = 4
LAYERS: Final = 4


class SelfAttention(nn.Module):
    """Every token looks at all tokens that are no padding.

    Source: A. Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv 1706.03762), section 3.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Map (B, L, width) to the same shape; `seen`, bool (B, 1, 1, L), is False at padding."""
        query, key, value = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)  # (B, heads, L, width/heads)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention and a small network at every token, each added to its input and each after a layer norm of its own.

    Source: R. Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020 (arXiv 2002.04745),
    figure 1 (b).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Map (B, L, width) to the same shape; `seen` as in `SelfAttention`."""
        x = x + self.attention(self.norm1(x), seen)
        added: Tensor = self.mlp(self.norm2(x))
        return x + added


class DocNet(nn.Module):
    """Embeddings of tokens and their positions, four blocks, the mean over the text, and a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(MAX_TOKENS, WIDTH)
        self.embedding_norm = nn.LayerNorm(WIDTH)  # without it the blocks' sums drown the small embeddings
        self.layers = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, num_classes)
        for embedding in (self.tokens, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)  # as BERT's: pretraining reads tokens off the same matrix

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Map tokens, int64 (B, L), L ≤ MAX_TOKENS, to class scores (B, num_classes).

        `attention_mask`, (B, L), is 0 at padding and 1 elsewhere; every row has a 1. Without it nothing is padding.
        """
        encoded = self.encode(input_ids, attention_mask)
        scores: Tensor = self.head(self.mean(encoded, attention_mask))
        return scores

    def mean(self, encoded: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the mean over the tokens that are no padding, (B, WIDTH), of what `encode` returned."""
        if attention_mask is None:
            return encoded.mean(dim=1)
        real = attention_mask.to(encoded.dtype).unsqueeze(2)  # (B, L, 1)
        return (encoded * real).sum(dim=1) / real.sum(dim=1)

    def encode(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return what the last norm gives for every token, (B, L, WIDTH); arguments as in `forward`."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.embedding_norm(self.tokens(input_ids) + self.positions(places))
        seen = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, seen)
        encoded: Tensor = self.norm(x)
        return encoded


def build(num_classes: int) -> nn.Module:
    """Build the network with random weights.

    Args:
        num_classes: outputs of the head, ≥ 1.

    Returns:
        The network in train mode; its random weights follow `torch.manual_seed`.
    """
    return DocNet(num_classes)


def load_tokenizer() -> Tokenizer:
    """Return the tokenizer that the shipped weights were trained with; it puts [CLS] before every text.

    Raises:
        WeightsError: its file is missing or damaged.
    """
    from tokenizers import Tokenizer

    path = TOKENIZER_PATH
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != TOKENIZER_SHA256:
        raise WeightsError(
            f"the shipped tokenizer {path} is missing or damaged: its SHA-256 must be {TOKENIZER_SHA256}. "
            "Install the project again, or run multirate_core.models.pretrain_doc_net."
        )
    return Tokenizer.from_str(content.decode())
