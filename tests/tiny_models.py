"""A bank of small, awkward networks: each shows one thing that a layer tree or a partition can get wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from multirate_core.layers.build import layer_tree
from multirate_core.layers.tree import LayerTree

MARKUP = "<img src=x onerror=alert(1)>"


class Plain(nn.Sequential):
    """Nothing awkward: convolution, norm, head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.flat = nn.Flatten()
        self.fc = nn.Linear(4 * 8 * 8, 3)


class Tied(nn.Module):
    """The decoder's weight is the encoder's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 6)
        self.decoder = nn.Linear(6, 6)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class SharedModule(nn.Module):
    """One convolution stands in two blocks and is called three times."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(2, 2, 3, padding=1)
        self.first = nn.Sequential(conv, nn.ReLU())
        self.second = nn.Sequential(conv, nn.BatchNorm2d(2))
        self.head = nn.Linear(2 * 4 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.first(x))).flatten(1))


class NormOnly(nn.Module):
    """All parameters belong to a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class NoParameters(nn.Module):
    """Nothing to train."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)


class Nested(nn.Module):
    """Equal blocks in stages, and layers called layer1 and layer10."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(*(self._block() for _ in range(3)))
        self.layer10 = nn.Sequential(self._block(), nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 1))))
        self.fc = nn.Linear(2, 2)

    @staticmethod
    def _block() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer10(self.layer1(x)).mean((2, 3)))


class Recursive(nn.Module):
    """Calls one layer again and again, and itself on smaller images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.fc = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 2:
            return self(nn.functional.max_pool2d(self.conv(x), 2))
        return self.fc(self.conv(self.conv(x)).mean((2, 3)))


class Attention(nn.Module):
    """`MultiheadAttention` owns in_proj beside its child out_proj, and calls out_proj's weights by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


class RootOwned(nn.Module):
    """The root owns a token of its own, as a ViT does; `unused` and its bias never take part."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.body = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 7)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([self.token.expand(len(x), -1, -1), x], 1))[:, 0])


class Frozen(nn.Module):
    """The stem does not train; of the body only the bias does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4).requires_grad_(False)
        self.body = nn.Linear(4, 4)
        self.body.weight.requires_grad_(False)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)))


class OddNames(nn.Module):
    """Names with markup, with the characters of globs, with a space and an umlaut."""

    def __init__(self) -> None:
        super().__init__()
        for name in (MARKUP, "a[b]*?", "a", "[!x]", "*", "größe 1", "]["):
            self.add_module(name, nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class LooksAtValues(nn.Module):
    """Cannot run on the meta device: its path depends on the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x if float(x.sum()) < 1 else -x)


class Failing(nn.Module):
    """Its forward pass needs more than an image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            raise RuntimeError("this network wants a mask")
        return self.fc(x * mask)


class Tokens(nn.Module):
    """Takes whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding(x)).mean(1)


@dataclass(frozen=True)
class Case:
    """A network of the bank, the shape of one input and the paths of its head."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    head: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.build.__name__


BANK = (
    Case(Plain, (1, 8, 8), ("fc",)),
    Case(Tied, (6,), ("decoder",)),
    Case(SharedModule, (2, 4, 4), ("head",)),
    Case(NormOnly, (5,)),
    Case(NoParameters, (1, 4, 4)),
    Case(Nested, (2, 4, 4), ("fc",)),
    Case(Recursive, (1, 8, 8), ("fc",)),
    Case(Attention, (5, 8), ("head",)),
    Case(RootOwned, (5, 4), ("head",)),
    Case(Frozen, (4,), ("head",)),
    Case(OddNames, (3,), ("][",)),
    Case(LooksAtValues, (4,), ("fc",)),
    Case(Failing, (4,), ("fc",)),
    Case(Tokens, (6,), ("head",)),
)
TRAINABLE = tuple(case for case in BANK if case.name != "NoParameters")


@cache
def tree_of(case: Case) -> LayerTree:
    return layer_tree(case.build(), case.input_shape, case.name, case.head)


def tree_named(name: str) -> LayerTree:
    return tree_of(next(case for case in BANK if case.name == name))
