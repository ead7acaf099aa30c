"""A race that takes a moment: a tiny network with dropout and BatchNorm on images drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from multirate_core.config import ArmConfig, Budget, GroupSpec, PartitionSpec, RaceConfig, Recipe, Rule
from multirate_core.data.split import DataSplit
from multirate_core.events import Event
from multirate_core.models.registry import BuiltModel
from multirate_core.race import Control, RaceParts, race_lanes
from multirate_core.race.partitions import resolve_partitions

E = TypeVar("E")
CPU = torch.device("cpu")
HEAD_FAST = PartitionSpec((GroupSpec("fast", 1), GroupSpec("slow", 3)), (Rule("head", "fast"), Rule("*", "slow")))
SGD = ArmConfig("sgd", "sgd")
MULTIRATE = ArmConfig("multirate", "multirate", HEAD_FAST)
FROZEN = ArmConfig("frozen", "frozen", HEAD_FAST)


class TinyNet(nn.Module):
    """Convolution, BatchNorm, dropout, head: a little of everything that has a state."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(width * 36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x).flatten(1))
        return logits


def tiny_split(train: int = 90, test: int = 30) -> DataSplit:
    """Three classes of 8 × 8 images that differ in brightness, enough to be learned."""
    source = torch.Generator().manual_seed(7)
    labels = torch.arange(train + test) % 3
    images = torch.randint(0, 120, (train + test, 1, 8, 8), generator=source) + 60 * labels.view(-1, 1, 1, 1)
    images = images.to(torch.uint8)
    return DataSplit(images[:train], labels[:train], images[train:], labels[train:], ("a", "b", "c"), ())


def build_tiny(seed: int) -> BuiltModel:
    """Return the network of a seed, without touching anybody's random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BuiltModel(TinyNet().train(), ("head",), (0.5,), (0.25,), ())


def tiny_config(*arms: ArmConfig, **changes: Any) -> RaceConfig:
    base = RaceConfig(arms=arms, recipe=Recipe(lr=0.02, batch_size=16), budget=Budget(epochs=2), device="cpu")
    return replace(base, **changes)


def tiny_parts(config: RaceConfig, split: DataSplit | None = None) -> RaceParts:
    partitions = resolve_partitions(config, build_tiny(0).module)
    return RaceParts(config, build_tiny, split or tiny_split(), partitions, CPU)


def race(config: RaceConfig, control: Control = lambda: "go", split: DataSplit | None = None) -> Iterator[Event]:
    return race_lanes(tiny_parts(config, split), control)


def only(kind: type[E], events: Sequence[Event], lane: int | None = None) -> list[E]:
    """Return the events of one kind, of one lane unless it is None."""
    return [event for event in events if isinstance(event, kind) and lane in (None, getattr(event, "lane", None))]
