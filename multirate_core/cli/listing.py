"""The commands that only look: a layer tree, the recipes, the recorded races, the devices."""

from __future__ import annotations

import textwrap
import time
from argparse import Namespace

from multirate_core import store
from multirate_core.backends import LocalProcess, available_devices
from multirate_core.checks import require_whole
from multirate_core.cli.settings import data_config, layer_tree, model_config
from multirate_core.home import store_path
from multirate_core.layers.tree import LayerNode, LayerTree
from multirate_core.machine import default_threads, usable_cores
from multirate_core.models.catalog import model_info
from multirate_core.partition.presets import PRESETS
from multirate_core.presets import RACE_PRESETS, race_preset
from multirate_core.store import RaceRow


def print_tree(options: Namespace) -> int:
    """Print a network's modules with type, parameters, output shape and multiply-adds, then the parameter names."""
    if options.depth is not None:
        require_whole("--depth", options.depth, 1, 1000)
    chosen = race_preset(options.preset)
    model = model_config(options, chosen)
    tree = layer_tree(model, data_config(options, chosen))
    head = ", ".join(tree.head) or "unknown"
    print(f"{tree.model}, {model_info(model.name).takes} {_shape(tree.input_shape)}, head {head}")
    print(f"{'layer':<44}{'type':<22}{'parameters':>14}{'output':>14}{'multiply-adds':>16}")
    for node in tree.nodes():
        depth = node.path.count(".") + 1 if node.path else 0
        if options.depth is None or depth <= options.depth:
            print(_row(node, depth))
    if tree.note:
        print(tree.note)
    if tree.saved is not None:
        plain, lean = (f"{each / 1e6:,.1f} MB" for each in (tree.saved.per_sample, tree.saved.lean_per_sample))
        print(f"A training step saves activations of {plain} per sample, with lean memory {lean}.")
    if options.check:
        _print_second_count(tree, model.source)
    return 0


def _print_second_count(tree: LayerTree, source: str) -> None:
    import torch

    from multirate_core.layers.second_count import second_count
    from multirate_core.models.registry import build_skeleton

    classes = (tree.root.output_shape or (1000,))[0]
    with torch.device("meta"):
        model, _ = build_skeleton(tree.model, classes, tree.input_shape, source)
        counted = second_count(model, tree.input_shape)
    ours = f"{tree.root.parameter_count:,} parameters, {tree.root.multiply_adds:,} multiply-adds"
    print(f"this tree: {ours}")
    print(f"torchinfo: {counted.parameters:,} parameters, {counted.multiply_adds:,} multiply-adds (without attention)")


def print_presets(_options: Namespace) -> int:
    """Print the whole recipes (--preset) and the partition presets (--fast)."""
    print("recipes, for --preset:")
    for recipe in RACE_PRESETS.values():
        print(textwrap.fill(recipe.note, 118, initial_indent=f"  {recipe.name:<20}", subsequent_indent=" " * 22))
    print("partitions, for --fast:")
    for name, title in PRESETS.items():
        print(f"  {name:<20}{title}")
    return 0


def print_races(options: Namespace) -> int:
    """Print the recorded races, newest first; lost ones are found out on the way."""
    require_whole("--limit", options.limit, 1, 100_000)
    LocalProcess(store_path()).tend()
    with store.open_store(store_path()) as opened:
        for race in store.list_races(opened, " ".join(options.text), options.limit):
            print(_race(race))
    return 0


def print_devices(_options: Namespace) -> int:
    """Print the devices, best first, and the threads that a worker takes."""
    for device in available_devices():
        print(device)
    print(f"{default_threads()} CPU threads for a worker by default, of {usable_cores()} cores")
    return 0


def _row(node: LayerNode, depth: int) -> str:
    name = "  " * depth + (node.name or "(whole network)")
    cells = f"{node.kind:<22}{node.parameter_count:>14,}{_shape(node.output_shape):>14}{node.multiply_adds:>16,}"
    return f"{name:<44}{cells}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "–" if shape is None else "×".join(map(str, shape))


def _race(race: RaceRow) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(race.created_at))
    arms = ",".join(race.config.title(arm.name) for arm in race.config.arms)
    what = f"{race.config.model.name} on {race.config.data.name}"
    return f"{race.id}  {when}  {race.outcome or race.state:<14}{what}: {arms}"
