"""Small networks, seeded batches and an ordinary training loop for the tests of the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from multirate_core.optim.reference import ReferenceGroup, train_multirate

torch.set_num_threads(1)  # networks this small lose a hundredfold to threads that wait for a busy core

Batch = tuple[Tensor, Tensor]


def small_net(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def norm_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


class TiedNet(nn.Module):
    """Two layers that share one weight, with a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(torch.tanh(self.first(x))))


def batches(count: int, shape: Sequence[int] = (6,), dtype: torch.dtype = torch.float32) -> list[Batch]:
    random = torch.Generator().manual_seed(1)
    return [
        (torch.randn(5, *shape, generator=random).to(dtype), torch.randint(3, (5,), generator=random))
        for _ in range(count)
    ]


def split_by_layer(model: nn.Module, periods: Sequence[int]) -> list[dict[str, object]]:
    """The head gets the first period, the layer before it the second, all earlier layers the last."""
    owners = [module for module in model.modules() if list(module.parameters(recurse=False))][::-1]
    names = [f"k={k}" if periods.index(k) == i else f"k={k} again" for i, k in enumerate(periods)]
    groups: list[dict[str, object]] = [
        {"params": [], "name": name, "period": k} for name, k in zip(names, periods, strict=True)
    ]
    for i, owner in enumerate(owners):
        groups[min(i, len(periods) - 1)]["params"] += list(owner.parameters(recurse=False))  # type: ignore[operator]
    return groups


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: Sequence[Batch]) -> list[float]:
    losses = []
    for x, y in data:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_twin(model: nn.Module, groups: Sequence[ReferenceGroup], data: Sequence[Batch]) -> None:
    def loss_of(batch: Batch) -> Callable[[], Tensor]:
        return lambda: nn.functional.cross_entropy(model(batch[0]), batch[1])

    train_multirate(groups, [loss_of(batch) for batch in data])


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    for (name, value), (_, expected) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(value, expected), name


def assert_close_weights(model: nn.Module, other: nn.Module) -> None:
    for (name, value), (_, expected) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-13, msg=lambda text, name=name: name + text)
