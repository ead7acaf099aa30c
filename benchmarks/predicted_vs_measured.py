"""How well the cost meter predicts: many partitions of four networks, predicted from one calibration and measured."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from benchmarks import run
from benchmarks.figures import Figure, Result, Target
from benchmarks.networks import CLASSES, NETWORKS, Network
from benchmarks.surroundings import commit
from multirate_core.config import Recipe
from multirate_core.cost.calibration import Calibration
from multirate_core.cost.clocks import clock_of
from multirate_core.cost.measure import measure as calibrate
from multirate_core.cost.predict import Partitioned, predict
from multirate_core.cost.subject import Subject
from multirate_core.machine import usable_cores
from multirate_core.optim import MultirateSGD
from multirate_core.training.allocator import settle_allocator
from multirate_core.training.forward import Forward

PERIODS = (1, 5, 20)
ROUNDS, MOST_CUTS, SCATTERED, EARLY = 5, 24, 12, 4
MOST_FAST_STEPS = 6  # of a cycle that are taken; their median stands for all
OPTIONS = {"lr": 1e-4, "momentum": 0.9}
MEDIAN, TAIL, BIAS = Target("at most", 3.0), Target("at most", 8.0), Target("at most", 1.5)
ABOUT = (
    "Whole training steps on all cores, random weights and data. One calibration per network, then every partition is "
    "predicted and measured: the head, cuts by depth (every one, or {cuts} spread evenly), {scattered} random thirds "
    "of the layers, the norms, and {early} single early layers. In each of {rounds} rounds a partition takes a cycle "
    "with every k, the steps of the fast part by their median, between steps of torch.optim.SGD; the median counts. "
    "Errors are of T_MR / T_SGD unless they say otherwise. The scattered and early layers are drawn with the commit as "
    "seed."
)


def _small_vit() -> nn.Module:
    return VisionTransformer(
        image_size=64, patch_size=8, num_layers=6, num_heads=6, hidden_dim=192, mlp_dim=768, num_classes=CLASSES
    )


SMALL_VIT = Network("Small ViT", _small_vit, 64, 16, ("heads.",), ("encoder.layers.encoder_layer_5.",))
CASES = {
    "resnet18": replace(NETWORKS["resnet18"], batch_size=16),
    "mobilenet_v2": replace(NETWORKS["mobilenet_v2"], batch_size=8),
    "vit_small": SMALL_VIT,
    "text": replace(NETWORKS["text"], batch_size=8),
}


@dataclass(frozen=True)
class Split:
    """One partition to be predicted: its name and the names of its fast parameters."""

    name: str
    fast: tuple[str, ...]


def measure(quick: bool) -> Result:
    """Predict and measure every partition of every network."""
    torch.set_num_threads(usable_cores())
    settle_allocator()
    seed = commit()
    rows: dict[str, list[dict[str, Any]]] = {}
    calibrations: dict[str, Calibration] = {}
    for name, network in CASES.items():
        if quick and name != "vit_small":
            continue
        torch.manual_seed(0)
        subject = _subject(network)
        few = [each for each in subject.trainable if each.startswith(network.head)]
        calibrations[name] = calibrate(subject, clock_of(subject.device), few, lambda *_: None, lambda: None)
        splits = list(_splits(subject.model, network, random.Random(f"{seed} {name}")))
        rows[name] = _rows(subject, calibrations[name], splits[:: 12 if quick else 1], 1 if quick else ROUNDS, name)
    figures = figures_of(rows)
    for name, calibration in calibrations.items():
        title = f"{CASES[name].title}: calibration"
        figures.append(Figure(f"{name}_calibration_s", title, "s", [calibration.took_s]))
    about = ABOUT.format(cuts=MOST_CUTS, scattered=SCATTERED, early=EARLY, rounds=1 if quick else ROUNDS)
    settings = {
        "seed": seed,
        "threads": torch.get_num_threads(),
        "partitions": {name: len(each) // len(PERIODS) for name, each in rows.items()},
        **OPTIONS,
    }
    return Result("predicted_vs_measured", about, figures, settings=settings, details=rows)


def _subject(network: Network) -> Subject:
    inputs, labels = network.batch(network.batch_size)
    recipe = Recipe(batch_size=network.batch_size, **OPTIONS)
    return Subject(Forward(network.build().train()), inputs, labels, recipe)


def _splits(model: nn.Module, network: Network, chance: random.Random) -> Iterator[Split]:
    """Yield the partitions of a network, the cuts from the head to the first layer."""
    layers = [
        tuple(f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False))
        for path, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    names = [name for name, _ in model.named_parameters()]
    yield Split("head", tuple(name for name in names if name.startswith(network.head)))
    cuts = list(range(len(layers) - 1))
    spread = len(cuts) / MOST_CUTS if len(cuts) > MOST_CUTS else 1
    for number in range(min(len(cuts), MOST_CUTS)):
        cut = cuts[int(number * spread)]
        yield Split(f"cut at {layers[cut][0]}", tuple(name for layer in layers[cut:] for name in layer))
    for number in range(SCATTERED):
        chosen = chance.sample(layers, len(layers) // 3)
        yield Split(f"third {number}", tuple(name for layer in chosen for name in layer))
    norms = (nn.BatchNorm2d, nn.LayerNorm)
    owners = [path for path, module in model.named_modules() if isinstance(module, norms)]
    yield Split("norms", tuple(name for name in names if name.rpartition(".")[0] in owners))
    for layer in chance.sample(layers[: len(layers) // 4], EARLY):
        head = tuple(name for name in names if name.startswith(network.head))
        yield Split(f"{layer[0]} and head", (*layer, *head))


def _rows(
    subject: Subject, calibration: Calibration, splits: Sequence[Split], rounds: int, name: str
) -> list[dict[str, Any]]:
    """Return one row per partition and k: predicted and measured ratio, and those of every round."""
    measured: dict[tuple[str, int], list[tuple[float, float]]] = {}
    plain = torch.optim.SGD(subject.model.parameters(), **OPTIONS)
    for number in range(rounds):
        run.say(f"{name}, round {number + 1} of {rounds}, {len(splits)} partitions")
        for split in splits if number % 2 else reversed(splits):
            for k, pair in _measured(subject, plain, split).items():
                measured.setdefault((split.name, k), []).append(pair)
    return [_row(calibration, subject, split, k, measured[split.name, k]) for split in splits for k in PERIODS]


def _row(
    calibration: Calibration, subject: Subject, split: Split, k: int, rounds: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    fast = set(split.fast)
    assignment = {name: "fast" if name in fast else "slow" for name in subject.trainable}
    found = predict(calibration, Partitioned({"fast": 1, "slow": k}, assignment))
    ratios = [multirate / sgd for multirate, sgd in rounds]
    return {
        "partition": split.name,
        "k": k,
        "predicted": round(found.ratio, 4),
        "measured": round(statistics.median(ratios), 4),
        "rounds": [round(ratio, 4) for ratio in ratios],
        "predicted_s": round(found.mean_step_s, 5),
        "measured_s": round(statistics.median(multirate for multirate, _ in rounds), 5),
    }


def _measured(subject: Subject, plain: torch.optim.Optimizer, split: Split) -> dict[int, tuple[float, float]]:
    """Return by k the mean seconds of a multirate step over a cycle, and those of SGD before and after it."""
    model, batch = subject.model, (subject.inputs, subject.labels)
    fast = set(split.fast)
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, weight in subject.trainable.items():
        parts[name in fast].append(weight)
    groups = [{"params": parts[True], "name": "fast"}, {"params": parts[False], "name": "slow", "period": 1}]
    multirate = MultirateSGD([group for group in groups if group["params"]], **OPTIONS)
    _step_s(model, multirate, batch)  # the first one allocates what the optimiser keeps
    found = {}
    before = _plain_step_s(subject, plain, multirate)
    for k in PERIODS:
        multirate.set_periods({group["name"]: k for group in multirate.param_groups if group["name"] == "slow"})
        multirate.param_groups[-1]["steps_since_refresh"] = None
        full, *quick = [_step_s(model, multirate, batch) for _ in range(1 + max(1, min(k - 1, MOST_FAST_STEPS)))]
        mean = statistics.fmean((full, *quick)) if k == 1 else (full + (k - 1) * statistics.median(quick)) / k
        after = _plain_step_s(subject, plain, multirate)
        found[k] = (mean, (before + after) / 2)
        before = after
    return found


def _plain_step_s(subject: Subject, plain: torch.optim.Optimizer, multirate: MultirateSGD) -> float:
    multirate.release()
    return _step_s(subject.model, plain, (subject.inputs, subject.labels))


def _step_s(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    begun = time.perf_counter()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    return time.perf_counter() - begun


def figures_of(rows: Mapping[str, Sequence[dict[str, Any]]]) -> list[Figure]:
    """Return the errors over all networks and of each.

    What is predicted for k = 1 hardly depends on the partition: those rows are told apart, without targets.
    """
    everything = [row for each in rows.values() for row in each]
    more, once = ([row for row in everything if (row["k"] > 1) is wanted] for wanted in (True, False))
    figures = [*_figures("all", "all networks, k = 5 and 20", more, targets=True)]
    figures += _figures("once", "all networks, k = 1", once, targets=False)
    for name, found in rows.items():
        figures += _figures(name, f"{CASES[name].title}, k = 5 and 20", [row for row in found if row["k"] > 1], False)
    return figures


def _figures(key: str, title: str, rows: Sequence[dict[str, Any]], targets: bool) -> Iterator[Figure]:
    """Yield the errors of some rows, in percent of what was measured, beside the spread of the repetitions."""
    errors = [100 * (row["predicted"] / row["measured"] - 1) for row in rows]
    sizes = sorted(abs(error) for error in errors)
    spread = [100 * abs(ratio / row["measured"] - 1) for row in rows for ratio in row["rounds"]]
    seconds = [100 * abs(row["predicted_s"] / row["measured_s"] - 1) for row in rows]
    tail = [sizes[min(len(sizes) - 1, int(0.95 * len(sizes)))]]
    bias = [abs(statistics.fmean(errors))]
    yield Figure(f"{key}_error", f"{title}: absolute error", "%", sizes, MEDIAN if targets else None)
    yield Figure(f"{key}_error_95", f"{title}: 95th percentile of it", "%", tail, TAIL if targets else None)
    yield Figure(f"{key}_bias", f"{title}: mean error, without its sign", "%", bias, BIAS if targets else None)
    yield Figure(f"{key}_signed", f"{title}: error with its sign", "%", errors)
    yield Figure(f"{key}_repeats", f"{title}: distance of a repetition from their median", "%", spread)
    yield Figure(f"{key}_seconds", f"{title}: absolute error of the seconds of a step", "%", seconds)


if __name__ == "__main__":
    sys.exit(run.main(measure, "predicted_vs_measured"))
