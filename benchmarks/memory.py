"""What training holds in memory: SGD, multirate and lean multirate, and what lean costs in time."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from benchmarks import RESULTS, ROOT, run
from benchmarks.figures import Figure, Result, Target
from benchmarks.memory_probe import DEVICE, OPTIONS, K, Probe, build, start_cycle, step
from benchmarks.networks import NETWORKS
from multirate_core.lean import make_lean
from multirate_core.machine import usable_cores

VARIANTS = ("sgd", "multirate", "lean")
KEEPS = (0.25, 0.5, 0.75)
PROCESSES, ROUNDS = 2, 3
SAVED, PEAK, TIME = Target("at most", 0.35), Target("at most", 0.55), Target("at most", 1.15)
# glibc keeps freed blocks up to a size that grows with use; from this size on each is handed back at once.
TIDY = {"MALLOC_MMAP_THRESHOLD_": str(2**16)}
ABOUT = (
    "One training process per number: torch.optim.SGD(foreach=True), multirate with the head fast and k = {k}, and the "
    "same made lean; images of {edge} pixels, random weights and data. Saved activations: bytes of the storages that "
    "autograd holds between the forward and the backward pass of a full step, parameters aside. Process: the kernel's "
    "high-water mark over two full steps, above the process with everything imported and no "
    "model; with torch's and the system's default settings, where glibc keeps freed blocks and the peak scatters, and "
    "with an allocator that hands memory back at once. "
    "Tensors: the highest sum of all live tensors, parameters, momenta and gradients included. Time: whole cycles of "
    "multirate and lean in turns in one process, after one of each to warm up, and each after one full step (a run has "
    "one first step, which copies the inputs of the blocks). `keep` is the share of blocks "
    "that are not recomputed."
)


@dataclass(frozen=True)
class Case:
    """One network at one batch size.

    Args:
        network: a key of NETWORKS.
        batch: images per step.
        bound: why the process's peak has no target here; "" where it has one.
        timed: measure cycles and the curve over `keep`, too.
    """

    network: str
    batch: int
    bound: str = ""
    timed: bool = True

    @property
    def key(self) -> str:
        """For programs."""
        return f"{self.network}_{self.batch}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{NETWORKS[self.network].title}, batch {self.batch}"


CASES = (
    Case("resnet50", 16),
    Case("vit_b_16", 8, bound="with .grad kept no less than 0.63 is possible"),
    Case("vit_b_16", 16, timed=False),
)
QUICK = (Case("resnet50", 2),)

Numbers = Mapping[str, list[float]]
Raw = dict[str, Any]


def measure(quick: bool) -> Result:
    """Measure every network in processes of their own, then the cycles in this one.

    With `--only` the other networks' raw numbers are those of the kept result.
    """
    options = _options()
    torch.set_num_threads(usable_cores())
    if DEVICE.type == "cpu" and sys.platform != "linux":
        raise run.NotMeasurableError("the peak of a process is read from /proc. Run it on Linux, or with a GPU.")
    edge, rounds = (64, 1) if quick else (224, options.rounds)
    cases = QUICK if quick else CASES
    details = {} if quick or options.only is None else _kept_details()
    for case in cases:
        if quick or options.only in (None, case.key):
            details[case.key] = _measured_case(case, edge, quick, rounds)
    figures = [figure for case in cases if case.key in details for figure in _figures(case, details[case.key])]
    settings = {"device": str(DEVICE), "edge": edge, "k": K, **OPTIONS}
    return Result("memory", ABOUT.format(k=K, edge=edge), figures, settings=settings, details=details)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", choices=[case.key for case in CASES])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def _kept_details() -> Raw:
    path = RESULTS / "memory.json"
    return json.loads(path.read_text(encoding="utf-8"))["details"] if path.exists() else {}  # type: ignore[no-any-return]


def _measured_case(case: Case, edge: int, quick: bool, rounds: int) -> Raw:
    """Return all raw numbers of one network and batch size."""
    base = Probe(case.network, edge, case.batch, "sgd")
    raw: Raw = {
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average_before": [round(value, 2) for value in os.getloadavg()],
        "variants": {variant: _measured(replace(base, variant=variant), quick) for variant in VARIANTS},
        "keeps": {},
        "cycle_s": {},
    }
    if case.timed:
        keeps = KEEPS[:1] if quick else KEEPS
        for keep in keeps:
            raw["keeps"][f"{keep:g}"] = _probed(replace(base, variant="lean", keep=keep, count="tensors"))
        raw["threads_of_cycles"] = torch.get_num_threads()
        raw["cycle_s"] = _cycle_times(base, (None, 0.0, *keeps), rounds)
    return raw


def _figures(case: Case, raw: Raw) -> list[Figure]:
    """Return the figures that the raw numbers of a case hold."""
    figures = _ratios(case, raw["variants"])
    if raw["cycle_s"]:
        figures.append(_time(case, raw["cycle_s"], 0.0, TIME))
    for keep, kept in raw["keeps"].items():
        figures += _curve(case, float(keep), kept, raw["variants"]["sgd"])
        figures.append(_time(case, raw["cycle_s"], float(keep), None))
    return figures


def _words(keep: float | None) -> str:
    return "multirate" if keep is None else f"lean, keep {keep:g}"


def _measured(probe: Probe, quick: bool) -> dict[str, list[float]]:
    """Return all counts of one variant, one value per process."""
    numbers = _probed(replace(probe, count="tensors"))
    for _ in range(1 if quick else _options().processes):
        for name, value in _probed(probe).items():
            numbers.setdefault(name, []).extend(value)
    if DEVICE.type == "cpu":
        numbers["tidy_mib"] = _probed(probe, TIDY)["process_mib"]
    return numbers


def _probed(probe: Probe, environment: Mapping[str, str] | None = None) -> dict[str, list[float]]:
    """Return what one fresh process counts."""
    command = [sys.executable, "-m", "benchmarks.memory_probe", json.dumps(asdict(probe))]
    own = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    counts = ", ".join(f"{name} {value:.0f}" for name, value in found.items())
    run.say(f"{probe.network}, batch {probe.batch}, {probe.variant}, keep {probe.keep:g}: {counts}")
    return {name: [value] for name, value in found.items()}


def _ratios(case: Case, by_variant: Mapping[str, Numbers]) -> list[Figure]:
    """Return lean's and multirate's counts over SGD's, and SGD's and lean's own in MiB."""
    sgd, multirate, lean = (by_variant[variant] for variant in VARIANTS)
    counts = (
        ("saved_mib", "saved activations", SAVED),
        ("process_mib", "process" + (f" ({case.bound})" if case.bound else ""), None if case.bound else PEAK),
        ("tidy_mib", "process, allocator that hands back", None),
        ("tensors_mib", "tensors", None),
    )
    figures = []
    for name, words, target in counts:
        if name in sgd:
            key, title = f"{case.key}_{name.removesuffix('_mib')}", f"{case.title}: {words}, lean / SGD"
            figures.append(Figure(key, title, "", _over(lean, sgd, name), target))
    over = _over(multirate, sgd, "process_mib")
    figures.append(Figure(f"{case.key}_process_multirate", f"{case.title}: process, multirate / SGD", "", over))
    for variant in VARIANTS:
        for name, words in (("saved_mib", "saved activations"), ("process_mib", "process")):
            key = f"{case.key}_{variant}_{name}"
            figures.append(Figure(key, f"{case.title}: {words} of {variant}", "MiB", by_variant[variant][name]))
    return figures


def _over(ours: Numbers, theirs: Numbers, name: str) -> list[float]:
    return [a / b for a, b in zip(ours[name], theirs[name], strict=True)]


def _time(case: Case, times: Numbers, keep: float, target: Target | None) -> Figure:
    title = f"{case.title}: time of a cycle, {_words(keep)} / multirate"
    ratios = _over({"s": times[_words(keep)]}, {"s": times[_words(None)]}, "s")
    return Figure(f"{case.key}_time_keep_{keep:g}", title, "", ratios, target)


def _curve(case: Case, keep: float, kept: Numbers, sgd: Numbers) -> list[Figure]:
    """Return the memory of one point between lean and plain."""
    label, key = f"{case.title}, keep {keep:g}", f"{case.key}_keep_{keep:g}"
    return [
        Figure(f"{key}_saved", f"{label}: saved activations / SGD", "", _over(kept, sgd, "saved_mib")),
        Figure(f"{key}_tensors", f"{label}: tensors / SGD", "", _over(kept, sgd, "tensors_mib")),
    ]


def _cycle_times(probe: Probe, keeps: Sequence[float | None], rounds: int) -> Numbers:
    """Return the seconds of whole cycles, the settings in turns on one network; None is multirate without lean."""
    model, optimizer, batch = build(replace(probe, variant="multirate"))
    seconds: dict[str, list[float]] = {_words(keep): [] for keep in keeps}
    for number in range(rounds + 1):
        for keep in keeps if number % 2 else reversed(keeps):
            lean = None if keep is None else make_lean(model, optimizer, keep=keep)
            start_cycle(optimizer)
            step(model, optimizer, batch)  # a block copies its inputs on its first full step, and never again
            start_cycle(optimizer)
            begun = time.perf_counter()
            for _ in range(K):
                step(model, optimizer, batch)
            _synchronize()
            if number:  # the first round warms up
                seconds[_words(keep)].append(time.perf_counter() - begun)
            if lean:
                lean.remove()
        run.say(f"{probe.network}, round {number}: {[round(values[-1], 2) for values in seconds.values() if values]} s")
    return seconds


def _synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(run.main(measure, "memory"))
