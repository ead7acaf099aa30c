"""Networks whose gradients take odd ways, and what autograd itself says about them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, combinations

import torch
from tiny_models import TRAINABLE, Case
from torch import Tensor, nn
from torch.autograd.graph import Node

from multirate_core.layers.gradient_graph import GradientGraph
from multirate_core.layers.trace_gradients import BATCH, LEAF, Tracer

ALL_SUBSETS_UP_TO = 8  # parameters: 256 subsets; of more parameters so many subsets are drawn
DRAWN = 64


class Residual(nn.Module):
    """A skip beside two layers: gradients go around the second one's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.block(x))


class TwoBranches(nn.Module):
    """Two branches side by side, joined by a concatenation; nothing of one needs the other."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 2, 3, padding=1)
        self.right = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x).relu(), self.right(x)], 1).mean((2, 3)))


class Unused(nn.Module):
    """A layer that is never called, and one whose result nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)
        self.in_vain = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        self.in_vain(x).relu()
        return self.head(x)


class TiedBranches(nn.Module):
    """Two pairs of tied weights, each in both branches."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)) for _ in range(2))
        self.right[0].weight = self.left[0].weight
        self.right[2].weight = self.left[2].weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(-x)], 1)


class InPlace(nn.Module):
    """Results that are written over: by a module, by an operator, and in a part of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(2))
        self.scale = nn.Parameter(torch.ones(2, 1, 1))
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x *= self.scale
        x = x.mean((2, 3))
        y = self.head(x)
        y[:, :1] += x[:, 1:]
        return y


class Views(nn.Module):
    """Parameters that are only looked at in another way: transposed, cut, one row of many."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(3, 4))
        self.places = nn.Parameter(torch.zeros(1, 9, 3))
        self.rows = nn.Parameter(torch.ones(2, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x @ self.matrix.T + self.places[:, : x.shape[1]]
        return self.head(x * self.rows[1])


class Extra(nn.Module):
    """A tensor that needs a gradient and is no parameter, in front of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.prompt = torch.zeros(4, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.stem(x) + self.prompt).relu())


class Recurrent(nn.Module):
    """An LSTM: its weights take part once for all places of a text, or once at each."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


ODD_WAYS = (
    Case(Residual, (4,), ("head",)),
    Case(TwoBranches, (1, 4, 4), ("head",)),
    Case(Unused, (4,), ("head",)),
    Case(TiedBranches, (4,), ("right.2",)),
    Case(InPlace, (1, 4, 4), ("head",)),
    Case(Views, (5, 4), ("head",)),
    Case(Extra, (4,), ("head",)),
    Case(Recurrent, (5, 3), ("head",)),
)
CASES = tuple(case for case in (*TRAINABLE, *ODD_WAYS) if case.name != "Failing")


def built(case: Case) -> nn.Module:
    """The network of a case in train mode, always the same."""
    torch.manual_seed(0)
    return case.build().train()


def inputs_of(case: Case, device: str = "cpu") -> Tensor:
    torch.manual_seed(1)
    shape = (BATCH, *case.input_shape)
    if case.name == "Tokens":
        return torch.randint(0, 10, shape).to(device)
    return torch.randn(shape).to(device)


def traced(case: Case, device: str = "cpu") -> tuple[GradientGraph, Tracer, Tensor]:
    """The graph of a real pass with every parameter due, its tracer, and the result."""
    with torch.device(device):
        network = built(case)
    tracer = Tracer(network)
    output = network(inputs_of(case, device))
    tracer.finish(output)
    return tracer.graph(), tracer, output


def subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every choice of a few names; of many names none, all, each by itself and some that are drawn."""
    if len(names) <= ALL_SUBSETS_UP_TO:
        yield from chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
        return
    yield from [(), tuple(names), *((name,) for name in names)]
    source = random.Random(7)
    for _ in range(DRAWN):
        share = source.random()
        yield tuple(name for name in names if source.random() < share)


def really_run(nodes: Sequence[Node], output: Tensor, chosen: Sequence[Tensor]) -> list[bool]:
    """Which of these operations run when autograd computes the gradients of these parameters from the whole graph."""
    ran = [False] * len(nodes)

    def note(place: int) -> None:
        ran[place] = True

    hooks = [node.register_prehook(lambda _, place=place: note(place)) for place, node in enumerate(nodes)]
    torch.autograd.grad(output.sum(), list(chosen), retain_graph=True, allow_unused=True)
    for hook in hooks:
        hook.remove()
    return ran


def smaller_graph(case: Case, due: Collection[str]) -> Counter[str]:
    """The operations that autograd keeps in a pass of a fresh copy in which only these parameters need a gradient."""
    network = built(case)
    for name, weight in network.named_parameters():
        weight.requires_grad_(name in due)
    last = network(inputs_of(case)).grad_fn
    seen: set[Node] = set()
    stack = [] if last is None else [last]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [child for child, _ in node.next_functions if child is not None]
    return Counter(node.name() for node in seen if not node.name().endswith(LEAF))
