"""The five networks on which the engine is measured, with made-up batches: what matters is their shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

CLASSES = 100
VOCABULARY, TOKENS, WIDTH = 8_000, 64, 512


class TextTransformer(nn.Module):
    """Six encoder layers over token ids, the mean of their outputs, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(torch.zeros(1, TOKENS, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return scores (B, CLASSES) for token ids (B, TOKENS)."""
        return self.head(self.encoder(self.embedding(tokens) + self.position).mean(1))


@dataclass(frozen=True)
class Network:
    """One network and how it is fed.

    Args:
        title: for people.
        build: makes it with random weights.
        edge: of the images in pixels; None for token ids.
        batch_size: of the step times.
        head: names, or their beginnings, of the head's parameters.
        block: those of the last block.
    """

    title: str
    build: Callable[[], nn.Module]
    edge: int | None
    batch_size: int
    head: tuple[str, ...]
    block: tuple[str, ...]

    def fast_names(self, partition: str) -> tuple[str, ...]:
        """Return what is fast in "head" or "block + head"."""
        return self.head if partition == "head" else (*self.block, *self.head)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Return inputs, (size, 3, edge, edge) or token ids (size, TOKENS), and int64 labels (size,)."""
        labels = torch.randint(CLASSES, (size,))
        if self.edge is None:
            return torch.randint(VOCABULARY, (size, TOKENS)), labels
        return torch.randn(size, 3, self.edge, self.edge), labels


def _vision(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES)


NETWORKS = {
    "resnet18": Network("ResNet-18", _vision("resnet18"), 64, 32, ("fc.",), ("layer4.1.",)),
    "resnet50": Network("ResNet-50", _vision("resnet50"), 64, 16, ("fc.",), ("layer4.2.",)),
    "mobilenet_v2": Network(
        "MobileNetV2", _vision("mobilenet_v2"), 96, 16, ("classifier.",), ("features.17.", "features.18.")
    ),
    "vit_b_16": Network(
        "ViT-B/16",
        _vision("vit_b_16"),
        224,
        2,
        ("heads.",),
        ("encoder.layers.encoder_layer_11.", "encoder.ln."),
    ),
    "text": Network("Text transformer", TextTransformer, None, 16, ("head.",), ("encoder.layers.5.",)),
}
