"""Networks whose blocks are awkward to run twice, and a training run that records everything that must not differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from multirate_core.lean import Lean, make_lean
from multirate_core.models import cifar_resnets
from multirate_core.optim import MultirateSGD

torch.set_num_threads(1)

K = 3
CLASSES = 4


class Step(nn.Module):
    """Convolution, batch norm, dropout, and a ReLU in place on the sum: the usual residual block."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.drop(self.norm(self.conv(x)))
        out += x
        return self.relu(out)


class WritesToInput(nn.Module):
    """Begins with an ELU in place on its own input, which is not the same when done twice, and adds the result."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.elu = nn.ELU(inplace=True)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.elu(x))) + x


class Spectral(nn.Module):
    """Its output depends on buffers that every forward pass in train mode moves."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.spectral_norm(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


class Chain(nn.Module):
    """A stem, three blocks in a ModuleList, a head."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.blocks = nn.ModuleList(block() for _ in range(3))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class TiedBlocks(Chain):
    """All blocks share one convolution weight."""

    def __init__(self) -> None:
        super().__init__(Step)
        for block in self.blocks[1:]:
            block.conv.weight = self.blocks[0].conv.weight


class OneBlockThreeTimes(Chain):
    """The same module stands three times in the list."""

    def __init__(self) -> None:
        block = Step()
        super().__init__(lambda: block)


class Mixer(nn.Module):
    """Takes a tensor, None, a growing list and a dict, and returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.2, batch_first=True)
        self.body = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.2))

    def forward(self, x: Tensor, mask: Tensor | None, seen: list[Tensor], *, more: dict[str, Any]) -> tuple[Any, ...]:
        x = x + self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]
        return self.body(x + sum(seen)) * more["scale"], len(seen), None


class Arguments(nn.Module):
    """Gives its blocks every kind of argument, and lets a list grow that they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.blocks = nn.ModuleList(Mixer() for _ in range(3))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        seen = [x]
        for number, block in enumerate(self.blocks):
            mask = torch.zeros(5, 5, dtype=torch.bool) if number else None
            x, count, nothing = block(x, mask, seen, more={"scale": torch.tensor(0.5), "note": "text"})
            assert (count, nothing) == (number + 1, None)
            seen.append(x)
        return self.head(x.mean(1))


class SelfCalling(nn.Module):
    """Its middle calls itself on a smaller image."""

    class Middle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            inner = torch.tanh(self.norm(self.conv(x)))
            return inner if x.shape[-1] <= 2 else self(nn.functional.max_pool2d(inner, 2))

    def __init__(self) -> None:
        super().__init__()
        self.middle = self.Middle()
        self.head = nn.Linear(2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(x).mean((2, 3)))


@dataclass(frozen=True)
class Case:
    """A network, the shape of one input, and the blocks to name; None leaves them to be found."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (2, 8, 8)
    blocks: tuple[str, ...] | None = None


def row_of(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(6 * 64, CLASSES))


def two_layers() -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(6, 6, 3, padding=1), nn.ELU(inplace=True)


def tiny_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        32, 8, 3, 4, 16, 32, dropout=0.1, attention_dropout=0.1, num_classes=CLASSES
    )


CASES = (
    Case("residual", lambda: Chain(Step)),
    Case("writes to input", lambda: Chain(WritesToInput)),
    Case("spectral norm", lambda: Chain(Spectral)),
    Case("tied blocks", TiedBlocks),
    Case("one block three times", OneBlockThreeTimes, blocks=("blocks.0",)),
    Case("arguments", Arguments, (5, 3)),
    Case("calls itself", SelfCalling, blocks=("middle",)),
    Case("blocks inside blocks", lambda: Chain(Step), blocks=("blocks.*",)),
    Case("attention of one tensor", Arguments, (5, 3), ("blocks.?.attention",)),
    Case("row of blocks", lambda: row_of(Step(), Step(), Step()), (6, 8, 8)),
    Case("row of layers", lambda: row_of(*two_layers(), *two_layers(), *two_layers()), (6, 8, 8)),
    Case("vit", tiny_vit, (3, 32, 32)),
    Case("mobilenet_v2", lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES, width_mult=0.25), (3, 32, 32)),
    Case("resnet18", lambda: torchvision.models.resnet18(num_classes=CLASSES, width_per_group=64), (3, 32, 32)),
    Case("resnet20", lambda: cifar_resnets.build("resnet20", CLASSES), (3, 32, 32)),
    Case("densenet", lambda: torchvision.models.DenseNet(4, (2, 2, 2), 8, num_classes=CLASSES), (3, 32, 32)),
)


def head_groups(model: nn.Module, k: int = K) -> list[dict[str, Any]]:
    """The last layer is fast, all others are slow."""
    weights = list(model.parameters())
    return [{"params": weights[-2:], "name": "fast"}, {"params": weights[:-2], "name": "slow", "period": k}]


def data(shape: Sequence[int], count: int) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [
        (torch.randn(4, *shape, generator=random), torch.randint(CLASSES, (4,), generator=random)) for _ in range(count)
    ]


@dataclass(frozen=True)
class Record:
    """All that a run must leave the same: of every step the loss, gradients and random state; the state dict."""

    losses: list[float]
    gradients: list[list[Tensor | None]]
    random_states: list[Tensor]
    state: dict[str, Tensor]
    lean: Lean | None


def train(
    case: Case, lean: bool, steps: int = 2 * K + 2, bf16: bool = False, keep: float = 0.0, twice: bool = False
) -> Record:
    torch.manual_seed(0)
    model = case.build().train()
    optimizer = MultirateSGD(head_groups(model), lr=0.05, momentum=0.9)
    handle = make_lean(model, optimizer, case.blocks, keep) if lean else None
    losses, gradients, random_states = [], [], []
    for x, y in data(case.shape, steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(model(x), y)
        if twice:
            loss.backward(retain_graph=True)
        loss.backward()
        gradients.append([None if w.grad is None else w.grad.clone() for w in model.parameters()])
        optimizer.step()
        losses.append(loss.item())
        random_states.append(torch.get_rng_state())
    return Record(losses, gradients, random_states, model.state_dict(), handle)


def assert_same(record: Record, expected: Record) -> None:
    assert record.losses == expected.losses
    for step, (ours, theirs) in enumerate(zip(record.gradients, expected.gradients, strict=True)):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None) == (other is None), step
            assert mine is None or torch.equal(mine, other), step
    for mine, other in zip(record.random_states, expected.random_states, strict=True):
        assert torch.equal(mine, other)
    assert list(record.state) == list(expected.state)
    for name, value in expected.state.items():
        assert torch.equal(record.state[name], value), name
