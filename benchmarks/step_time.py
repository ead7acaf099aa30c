"""What multirate steps cost: against SGD, against the ideal that the algorithm allows, and the drift by itself."""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import run
from benchmarks.figures import Figure, Result, Target
from benchmarks.networks import NETWORKS, Network
from multirate_core.machine import usable_cores
from multirate_core.optim import MultirateSGD
from multirate_core.optim.drift import move

PARTITIONS = ("head", "block + head")
PERIODS = (2, 5, 10, 20)
ROUNDS, PAIRS, DRIFTS = 4, 8, 21
MOST_FAST_PARTS = 6  # of the ideal fast step, beside one cycle
BATCHES = (16, 64, 256)
OPTIONS = {"lr": 1e-4, "momentum": 0.9}
OVERHEAD, PERIOD_1, DRIFT = Target("at most", 3.0), Target("at most", 2.0), Target("at most", 1.1)
EVICTED = 64_000_000  # floats written between two drifts, so that none of it is found in a cache
ABOUT = (
    "Whole training steps on all cores (forward, backward, update), random weights and data. In each of {rounds} "
    "rounds every k takes one cycle with the optimiser, between two steps of torch.optim.SGD(foreach=True) and some "
    "of the ideal fast step: forward, backward to the fast part, torch's SGD on it. The ideal of a cycle is one step "
    "of SGD and k − 1 of those, each with one pass over the slow parameters at copy bandwidth; overhead is what a "
    "cycle took above that. Drift: θ − h·p over all slow parameters with cold caches, over the time in which copy_ "
    "moves as many bytes (12 per parameter)."
)

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Lane:
    """A model and the optimiser that trains it on one batch again and again."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batch: Batch

    def step_s(self) -> float:
        """Take one step of an ordinary loop and return its seconds."""
        begun = time.perf_counter()
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.batch[0]), self.batch[1]).backward()
        self.optimizer.step()
        return time.perf_counter() - begun


def measure(quick: bool) -> Result:
    """Measure every network with both partitions, then the drifts."""
    torch.set_num_threads(usable_cores())
    figures: list[Figure] = []
    overheads: list[float] = []
    pairs: list[float] = []
    details: dict[str, Any] = {}
    for name, network in NETWORKS.items():
        if quick and name != "mobilenet_v2":
            continue
        torch.manual_seed(0)
        figures += [_period_1(network, quick, pairs)]
        for partition in PARTITIONS:
            run.say(f"{network.title}, {partition}")
            found, raw = _partition(network, partition, quick)
            figures += found
            overheads += raw["overhead_percent"]
            details[f"{name}, {partition}"] = raw
        figures += _drift(network, quick)
    title = "overhead over the ideal, all networks, partitions and k"
    summary = [
        Figure("overhead_percent", title, "%", overheads, OVERHEAD),
        Figure("period_1_percent", "period-1 step against SGD(foreach=True), all networks", "%", pairs, PERIOD_1),
    ]
    batches = {network.title: [network.batch_size, network.edge or "64 tokens"] for network in NETWORKS.values()}
    settings = {"threads": torch.get_num_threads(), "batch_and_size": batches, **OPTIONS}
    about = ABOUT.format(rounds=1 if quick else ROUNDS)
    return Result("step_time", about, [*summary, *figures], settings=settings, details=details)


def _partition(network: Network, partition: str, quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Return the figures of one network with one partition, and the raw numbers."""
    sgd, parts, multirate = _lanes(network, partition)
    slow = multirate.optimizer.param_groups[1]["params"]
    pass_s = _copy_s(3 * sum(weight.numel() for weight in slow) // 2)
    periods = PERIODS[: 2 if quick else None]
    ratios: dict[int, list[float]] = {k: [] for k in periods}
    ideals: dict[int, list[float]] = {k: [] for k in periods}
    rhos: list[float] = []
    for lane in (sgd, parts, multirate):
        lane.step_s()
    for _ in range(1 if quick else ROUNDS):
        for k in periods:
            before = sgd.step_s()
            fast_s = [parts.step_s() for _ in range(min(k - 1, MOST_FAST_PARTS) // 2)]
            cycle_s = _cycle_s(multirate, k)
            fast_s += [parts.step_s() for _ in range(min(k - 1, MOST_FAST_PARTS) - len(fast_s))]
            full_s = (before + sgd.step_s()) / 2
            ideal_fast_s = statistics.fmean(fast_s) + pass_s
            rhos.append(ideal_fast_s / full_s)
            ideals[k].append((full_s + (k - 1) * ideal_fast_s) / k / full_s)
            ratios[k].append(cycle_s / k / full_s)
    label = f"{network.title}, {partition}"
    key = label.lower().replace(", ", "_").replace(" ", "_").replace("+", "and")
    figures = [Figure(f"{key}_k{k}_ratio", f"{label}, k = {k}: T_MR / T_SGD", "", ratios[k]) for k in periods]
    over = [100 * (a / b - 1) for k in periods for a, b in zip(ratios[k], ideals[k], strict=True)]
    figures.append(Figure(f"{key}_rho", f"{label}: ideal fast step over SGD's step, ρ", "", rhos))
    figures.append(Figure(f"{key}_overhead_percent", f"{label}: overhead over the ideal", "%", over, OVERHEAD))
    ideal = {str(k): [round(value, 4) for value in ideals[k]] for k in periods}
    return figures, {"ideal_ratio": ideal, "overhead_percent": over, "pass_over_slow_s": pass_s}


def _lanes(network: Network, partition: str) -> tuple[Lane, Lane, Lane]:
    """Return SGD, the parts of an ideal fast step, and the optimiser itself, on equal networks and batches."""
    model, batch, names = network.build(), network.batch(network.batch_size), network.fast_names(partition)
    models = [model, copy.deepcopy(model), copy.deepcopy(model)]
    sgd = torch.optim.SGD(models[0].parameters(), foreach=True, **OPTIONS)
    frozen = [weight for name, weight in models[1].named_parameters() if not name.startswith(names)]
    for weight in frozen:
        weight.requires_grad_(False)
    fast = [weight for weight in models[1].parameters() if weight.requires_grad]
    parts = torch.optim.SGD(fast, foreach=True, **OPTIONS)
    multirate = MultirateSGD(_groups(models[2], names), **OPTIONS)
    return tuple(  # type: ignore[return-value]
        Lane(each, optimizer, batch) for each, optimizer in zip(models, (sgd, parts, multirate), strict=True)
    )


def _groups(model: nn.Module, names: tuple[str, ...], period: int = 20) -> list[dict[str, Any]]:
    """Return the fast and the slow group."""
    split: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, weight in model.named_parameters():
        split[name.startswith(names)].append(weight)
    return [{"params": split[True], "name": "fast"}, {"params": split[False], "name": "slow", "period": period}]


def _cycle_s(lane: Lane, k: int) -> float:
    """Return the seconds of one whole cycle of k steps; the slow group is due at the first and after the last one."""
    optimizer: Any = lane.optimizer
    optimizer.param_groups[1]["steps_since_refresh"] = k  # so that the cycle begins here, whatever came before
    optimizer.set_periods({"slow": k})
    return sum(lane.step_s() for _ in range(k))


def _period_1(network: Network, quick: bool, pairs: list[float]) -> Figure:
    """Return how much longer a step takes with everything fast than with torch's own SGD, pair by pair."""
    run.say(f"{network.title}, period 1")
    model, batch = network.build(), network.batch(network.batch_size)
    twin = copy.deepcopy(model)
    ours = Lane(model, MultirateSGD(model.parameters(), **OPTIONS), batch)
    theirs = Lane(twin, torch.optim.SGD(twin.parameters(), foreach=True, **OPTIONS), batch)
    found = []
    for lane in (ours, theirs):
        lane.step_s()
    for number in range(1 if quick else PAIRS):
        order = (ours, theirs, theirs, ours) if number % 2 else (theirs, ours, ours, theirs)
        seconds = [(lane is ours, lane.step_s()) for lane in order]
        found.append(100 * (sum(s for mine, s in seconds if mine) / sum(s for mine, s in seconds if not mine) - 1))
    pairs += found
    key = network.title.lower().replace(" ", "_")
    title = f"{network.title}: period-1 step against SGD(foreach=True)"
    return Figure(f"{key}_period_1_percent", title, "%", found, PERIOD_1)


def _drift(network: Network, quick: bool) -> Sequence[Figure]:
    """Return the drift over copy bandwidth, and its share of a fast step at three batch sizes."""
    run.say(f"{network.title}, drift")
    model = network.build()
    _, slow = _groups(model, network.head)
    theta = slow["params"]
    p = [torch.randn_like(weight) for weight in theta]
    count = sum(weight.numel() for weight in theta)
    source = torch.randn(3 * count // 2)
    target, evicted = torch.empty_like(source), torch.empty(EVICTED)
    drift_s, copy_s = [], []
    with torch.no_grad():
        for _ in range(3 if quick else DRIFTS):
            drift_s.append(_cold_s(lambda: move(theta, p, 1e-9, None), evicted))
            copy_s.append(_cold_s(lambda: target.copy_(source), evicted))
    key = network.title.lower().replace(" ", "_")
    ratios = [a / b for a, b in zip(drift_s, copy_s, strict=True)]
    figures = [Figure(f"{key}_drift", f"{network.title}: drift over copy bandwidth", "", ratios, DRIFT)]
    for size in () if quick else BATCHES:
        step_s = _fast_step_s(network, size)
        share = [100 * each / step_s for each in drift_s]
        figures.append(
            Figure(
                f"{key}_drift_share_{size}", f"{network.title}, batch {size}: drift's share of a fast step", "%", share
            )
        )
    return figures


def _fast_step_s(network: Network, size: int) -> float:
    """Return the seconds of a step in which only the head is trained and nothing drifts: the better of two."""
    model = network.build()
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(network.head))
    head = [weight for weight in model.parameters() if weight.requires_grad]
    lane = Lane(model, torch.optim.SGD(head, foreach=True, **OPTIONS), network.batch(size))
    return min(lane.step_s() for _ in range(2))


def _copy_s(count: int) -> float:
    """Return the median seconds in which copy_ copies so many floats, with cold caches."""
    source, evicted = torch.randn(count), torch.empty(EVICTED)
    target = torch.empty_like(source)
    return statistics.median(_cold_s(lambda: target.copy_(source), evicted) for _ in range(7))


def _cold_s(work: Callable[[], Any], evicted: Tensor) -> float:
    """Return the seconds of some work after the caches were filled with something else."""
    evicted.fill_(0.0)
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(run.main(measure, "step_time"))
