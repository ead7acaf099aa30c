"""The cost meter beside its predictions of time: memory, how long a calibration takes, how long a prediction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torchvision

from benchmarks import ROOT, run
from benchmarks.figures import Figure, Result, Target
from benchmarks.memory import TIDY
from benchmarks.memory_probe import Probe
from benchmarks.networks import NETWORKS, Network
from multirate_core.config import Recipe
from multirate_core.cost.calibration import Calibration, Peaks, UpdateCost, Updates
from multirate_core.cost.clocks import clock_of
from multirate_core.cost.measure import measure as calibrate
from multirate_core.cost.operations import OperationCost, UnitCost
from multirate_core.cost.predict import Partitioned, predict
from multirate_core.cost.subject import Subject
from multirate_core.layers.gradient_graph import merge
from multirate_core.layers.trace_gradients import trace_gradients
from multirate_core.machine import default_threads, usable_cores
from multirate_core.training.forward import Forward

VARIANTS = ("sgd", "multirate", "lean")
MEMORY, CALIBRATION, PREDICTION = Target("at most", 10.0), Target("at most", 20.0), Target("at most", 5.0)
LARGE = "efficientnet_b7"  # about a thousand modules
PREDICTIONS = 50
USUAL = "the process with glibc's own settings"
ABOUT = (
    "Memory: the predicted peak in a step with every gradient against fresh processes that train with the head fast: "
    "the highest sum of their live tensors, and the kernel's high-water mark of the process above what it took with "
    "everything imported and no model, its allocator handing freed memory back at once. With glibc's own settings, "
    "which keep freed blocks, a process takes more: that is told too. Calibration: all its measurements, on all cores. "
    "Prediction: of a partition of {large}, {modules} modules, with random parameters fast."
)


@dataclass(frozen=True)
class Case:
    """A network at a batch size and an image size."""

    network: str
    edge: int | None
    batch: int

    @property
    def key(self) -> str:
        """For programs."""
        return f"{self.network}_{self.batch}"

    @property
    def title(self) -> str:
        """For people."""
        size = "" if self.edge is None else f", {self.edge} px"
        return f"{NETWORKS[self.network].title}, batch {self.batch}{size}"


CASES = (
    Case("resnet50", 64, 32),
    Case("resnet18", 64, 64),
    Case("mobilenet_v2", 96, 32),
    Case("vit_b_16", 224, 4),
    Case("text", None, 32),
)
QUICK = (Case("resnet18", 64, 8),)


def measure(quick: bool) -> Result:
    """Calibrate every network and compare its peaks with those of processes; then predict."""
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for case in QUICK if quick else CASES:
        torch.set_num_threads(usable_cores())
        found = _calibrated(case)
        run.say(f"{case.title}: calibrated in {found.took_s:.1f} s, {found.rounds} rounds")
        target = CALIBRATION if case.network == "resnet50" else None
        figures.append(Figure(f"{case.key}_calibration_s", f"{case.title}: calibration", "s", [found.took_s], target))
        rows = {variant: _memory(case, found, variant) for variant in VARIANTS}
        figures += _memory_figures(case, rows)
        details[case.key] = {**rows, "rounds": found.rounds, "spread": found.spread}
    modules, times = _prediction_ms()
    title = f"prediction for {modules} modules"
    figures.append(Figure("prediction_ms", title, "ms", times, PREDICTION))
    settings = {"threads": usable_cores(), "threads_of_processes": default_threads()}
    return Result("cost_meter", ABOUT.format(large=LARGE, modules=modules), figures, settings=settings, details=details)


def _calibrated(case: Case) -> Calibration:
    torch.manual_seed(0)
    network: Network = replace(NETWORKS[case.network], edge=case.edge)
    inputs, labels = network.batch(case.batch)
    subject = Subject(Forward(network.build().train()), inputs, labels, Recipe(batch_size=case.batch))
    few = [name for name in subject.trainable if name.startswith(network.head)]
    return calibrate(subject, clock_of(subject.device), few, lambda *_: None, lambda: None)


def _memory(case: Case, found: Calibration, variant: str) -> dict[str, float]:
    """Return the predicted peak and those of processes, in MiB."""
    head = NETWORKS[case.network].head
    assignment = {name: "fast" if name.startswith(head) else "slow" for name in found.parameters}
    cost = predict(found, Partitioned({"fast": 1, "slow": 5}, assignment))
    peaks = {"sgd": cost.sgd_peak_bytes, "multirate": cost.multirate_peak_bytes, "lean": cost.lean_peak_bytes}
    probe = Probe(case.network, case.edge, case.batch, variant)  # type: ignore[arg-type]  # no edge: token ids
    process, usual = (_probed(probe, environment)["process_mib"] for environment in (TIDY, {}))
    tensors = _probed(replace(probe, count="tensors"), {})["tensors_mib"]
    predicted = (peaks[variant] or 0) / 2**20
    return {"predicted_mib": predicted, "tensors_mib": tensors, "process_mib": process, "usual_process_mib": usual}


def _probed(probe: Probe, environment: dict[str, str]) -> dict[str, float]:
    """Return what a fresh process counts."""
    command = [sys.executable, "-m", "benchmarks.memory_probe", json.dumps(asdict(probe))]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _memory_figures(case: Case, rows: dict[str, dict[str, float]]) -> Iterator[Figure]:
    against = (("tensors", "all tensors", MEMORY), ("process", "the process", MEMORY), ("usual_process", USUAL, None))
    for variant, row in rows.items():
        for name, words, target in against:
            error = 100 * abs(row["predicted_mib"] / row[f"{name}_mib"] - 1)
            title = f"{case.title}: error of the peak of {variant}, {words}"
            yield Figure(f"{case.key}_{variant}_{name}", title, "%", [error], target)


def _prediction_ms() -> tuple[int, list[float]]:
    """Return the modules of a large network and the milliseconds of predictions for it, its costs made up."""
    with torch.device("meta"):
        model = torchvision.models.get_model(LARGE)
    graph = trace_gradients(model, (3, 224, 224))
    assert graph is not None
    names = tuple(name for name, _ in model.named_parameters())
    number = {name: place for place, name in enumerate(names)}
    operations = tuple(
        OperationCost(each.module, each.inputs, 1.0, 0.0, tuple(UnitCost(number[n], 1.0, 1.0) for n in each.parameters))
        for each in merge(graph).operations
    )
    nothing = UpdateCost(0.0, 0.0)
    made_up = Calibration(
        *({}, names, tuple(weight.numel() for weight in model.parameters()), operations, {}, 1.0),
        *(Updates(nothing, nothing, nothing), 1.0, 0.0, 0.0, 0.0, Peaks(1, 1, 1), 0.0, 1),
    )
    times = []
    for _ in range(PREDICTIONS):
        fast = set(torch.randperm(len(names))[: len(names) // 3].tolist())
        part = Partitioned({"fast": 1, "slow": 5}, {n: "fast" if i in fast else "slow" for i, n in enumerate(names)})
        begun = time.perf_counter()
        predict(made_up, part)
        times.append(1000 * (time.perf_counter() - begun))
    return sum(1 for _ in model.modules()), times


if __name__ == "__main__":
    sys.exit(run.main(measure, "cost_meter"))
