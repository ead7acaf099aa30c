"""About how much memory a race needs: hand-worked sums, advice that would fit, refusals, and a real worker's peak."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from image_cases import draw_folder

from multirate_core import machine
from multirate_core.cli.program import main
from multirate_core.config import ArmConfig, DataConfig, Execution, ModelConfig, RaceConfig, Recipe
from multirate_core.data import room
from multirate_core.data.catalog import DataShape, data_shape
from multirate_core.layers import describe
from multirate_core.layers.describe import TreeRequest
from multirate_core.layers.tree import LayerTree
from multirate_core.memory.estimate import MemoryEstimate, estimate, on_gpu
from multirate_core.memory.words import compared, gpu_outlook, outlook, runs_on_gpu
from multirate_core.models.catalog import model_info
from multirate_core.partition import preset, to_spec

SGD = ArmConfig("sgd", "sgd")
GB = 10**9


@cache
def tree() -> LayerTree:
    """The tree of the default network, which ships."""
    found = describe.read(describe.SHIPPED)
    assert isinstance(found, LayerTree) and found.saved is not None
    return found


def slow_arm(kind: str = "multirate", drift: bool = True) -> ArmConfig:
    return ArmConfig(kind, kind, to_spec(preset("head", tree(), 5), tree()), drift)  # type: ignore[arg-type]


def numbers() -> tuple[int, int]:
    """All weights, and those of the head."""
    everything = tree().root.parameter_count
    head = sum(each.numel for each in tree().parameters() if each.name.startswith(f"{tree().head[0]}."))
    return everything, head


def config(*arms: ArmConfig, **changes: Any) -> RaceConfig:
    return RaceConfig(arms=arms or (SGD,), **changes)


def need(race: RaceConfig) -> MemoryEstimate:
    return estimate(race, tree(), data_shape(race.data, model_info("glyph_net")))


def test_one_plain_arm_holds_weights_gradients_momentum_and_the_copy_it_starts_from() -> None:
    everything, _ = numbers()
    found = need(config())
    assert (found.weights, found.gradients, found.optimizer_state, found.first_copy) == (4 * everything,) * 4


def test_arms_hold_their_states_at_once_and_a_resting_slow_part_has_no_gradients() -> None:
    everything, head = numbers()
    found = need(config(SGD, slow_arm(), slow_arm("frozen")))
    assert found.weights == 3 * 4 * everything and found.first_copy == 0
    assert found.optimizer_state == 4 * (2 * everything + head)
    # The plain arm keeps all its gradients; of the two others one is in a full step and the other rests.
    assert found.gradients == 4 * (everything + head + head + (everything - head))


@pytest.mark.parametrize(
    ("recipe", "drift", "states", "held"),
    [
        (Recipe(), True, 1, 0),
        (Recipe(momentum=0.0), True, 0, 1),
        (Recipe(nesterov=True), True, 1, 1),
        (Recipe(base="adamw"), True, 2, 1),
        (Recipe(base="adamw"), False, 2, 0),
    ],
)
def test_a_slow_part_holds_a_direction_where_its_momentum_is_none(
    recipe: Recipe, drift: bool, states: int, held: int
) -> None:
    everything, head = numbers()
    found = need(config(slow_arm(drift=drift), recipe=recipe))
    assert found.optimizer_state == 4 * (states * everything + held * (everything - head))


def test_activations_are_those_of_one_micro_batch_of_the_arm_that_keeps_the_most() -> None:
    saved = tree().saved
    assert saved is not None
    recipe = Recipe(batch_size=64, accumulate=4)
    lean = Execution(memory="lean")
    assert need(config(recipe=recipe)).activations == saved.fixed + 16 * saved.per_sample
    assert (
        need(config(SGD, slow_arm(), recipe=recipe, execution=lean)).activations == saved.fixed + 16 * saved.per_sample
    )
    alone = need(config(slow_arm(), recipe=recipe, execution=lean))
    assert alone.activations == saved.lean_fixed + 16 * saved.lean_per_sample
    few = config(recipe=Recipe(batch_size=4096), data=DataConfig("digits", train_images=50))
    assert need(few).micro_batch == 50


def test_bf16_keeps_fewer_bytes_of_activations_and_a_copy_of_the_weights() -> None:
    saved, (everything, _) = tree().saved, numbers()
    found = need(config(execution=Execution(precision="bf16")))
    assert saved is not None and 0.5 * saved.per_sample <= (found.activations_per_sample or 0) < 0.8 * saved.per_sample
    assert found.activations_fixed >= 2 * everything and found.weights == 4 * everything


def photos(tmp_path: Path) -> tuple[RaceConfig, DataShape]:
    folder = draw_folder(tmp_path / "images", {"red": 10, "green": 10})
    data = DataConfig("folder", path=str(folder), image_size=32)
    return config(data=data), data_shape(data, model_info("glyph_net"))


def test_images_that_the_memory_does_not_hold_count_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race, shape = photos(tmp_path)
    here = estimate(race, tree(), shape)
    assert (here.data, here.data_file) == (20 * 32 * 32, 0)
    monkeypatch.setattr(room, "MEMORY_SHARE", 1e-12)  # as if nearly all memory were taken
    there = estimate(race, tree(), shape)
    assert (there.data, there.data_file) == (0, 20 * 32 * 32) and there.total == here.total - here.data
    assert "on disk" in outlook(race, tree(), shape).parts and outlook(race, tree(), shape).warning == ""


def test_a_disk_without_room_for_them_is_told_unless_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    race, shape = photos(tmp_path)
    monkeypatch.setattr(room, "MEMORY_SHARE", 1e-12)
    monkeypatch.setattr(room, "SPARE", 1e12)  # as if the disk were full
    assert "on disk, since the memory does not hold them" in outlook(race, tree(), shape).warning
    (own_home / "data" / "images-0.bytes").write_bytes(bytes(20 * 32 * 32))
    assert outlook(race, tree(), shape).warning == ""


def test_a_race_that_fits_has_one_quiet_line() -> None:
    race = config(SGD, slow_arm())
    found = outlook(race, tree(), data_shape(race.data, model_info("glyph_net")))
    assert found.line.startswith("Needs about 0.4 GB; ") and (found.warning, found.refusal) == ("", "")


def big(**changes: int) -> MemoryEstimate:
    parts = {"weights": GB, "gradients": GB, "optimizer_state": GB, "first_copy": 0, "activations_fixed": 0}
    parts |= {"activations_per_sample": GB // 10, "micro_batch": 64, "data": GB, "data_file": 0, "sample": 10**6}
    return MemoryEstimate(**{**parts, "test_samples": 200, "program": 0, **changes})


def test_a_warning_names_the_parts_and_the_largest_batch_that_fits() -> None:
    race = config(SGD, slow_arm(), recipe=Recipe(batch_size=64))
    found = compared(big(), None, race, free=7 * GB, total=20 * GB, owner="this machine")
    assert "3.0 GB for weights, gradients and optimiser state of 2 arms" in found.warning
    assert "6.4 GB for activations at batch size 64, 1.0 GB for data" in found.warning
    assert "A batch size of 30 would fit, or the same batch in 3 micro-batches." in found.warning
    assert big(micro_batch=30).total <= 7 * GB < big(micro_batch=31).total
    assert "training samples" not in found.warning and "Lean" not in found.warning and not found.refusal
    assert compared(big(), None, race, free=big().total, total=20 * GB, owner="it").warning == ""


def test_a_warning_names_lean_memory_and_fewer_samples_where_they_fit() -> None:
    race = config(slow_arm(), recipe=Recipe(batch_size=64))
    found = compared(big(), big(activations_per_sample=GB // 20), race, 10 * GB, 20 * GB, "this machine")
    assert "Lean memory would fit: 7.2 GB." in found.warning
    assert "400 training samples would fit." in found.warning
    assert big(data=600 * 10**6).total == 10 * GB  # 400 for training, 200 for testing


def test_where_no_batch_fits_fewer_arms_or_a_smaller_network_are_advised() -> None:
    two = compared(big(), None, config(SGD, slow_arm()), 3 * GB, 20 * GB, "this machine")
    one = compared(big(), None, config(), 3 * GB, 20 * GB, "this machine")
    assert "Fewer arms would need less." in two.warning and "A smaller network would need less." in one.warning


def test_weights_and_state_above_all_the_memory_there_is_are_refused() -> None:
    found = compared(big(), None, config(), free=GB, total=2 * GB - 1, owner="this machine")
    assert "optimiser state of one arm need 2.0 GB, and this machine has 2.0 GB" in found.refusal
    assert compared(big(), None, config(), free=GB, total=2 * GB, owner="this machine").refusal == ""


def test_on_a_gpu_the_data_lie_there_only_where_they_take_a_part_of_it() -> None:
    race = config(SGD, slow_arm())
    shape = data_shape(race.data, model_info("glyph_net"))
    assert on_gpu(big(program=GB, first_copy=GB), 2 * GB).total == big().total
    assert on_gpu(big(), GB // 2).data == 0
    assert "on the GPU" in outlook(race, tree(), shape, gpu=True).line
    assert gpu_outlook(race, tree(), shape, 10**6, 10**9, 0.4).warning.startswith("This race needs about")
    assert "the GPU has" in gpu_outlook(race, tree(), shape, 10**5, 10**5, 0.4).refusal
    assert [runs_on_gpu(*each) for each in (("auto", ["cuda:0", "cpu"]), ("cpu", ["cuda:0"]), ("auto", ["mps"]))] == [
        *(True, False, False)
    ]


def container(folder: Path, limit: int, used: int, cached: int = 0) -> Path:
    """A control group's files, as a container has them."""
    folder.mkdir(exist_ok=True)
    for name, text in (("memory.max", limit), ("memory.current", used), ("memory.stat", f"inactive_file {cached}")):
        (folder / name).write_text(f"{text}\n", encoding="ascii")
    return folder


def test_the_limit_of_a_container_counts_as_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", container(tmp_path / "group", 1000, 700, 50))
    assert (machine.total_memory(), machine.available_memory()) == (1000, 350)
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "none")
    assert machine.total_memory() >= machine.available_memory() > 10**6


def test_a_race_that_cannot_fit_is_bad_input_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "CGROUP", container(tmp_path / "group", 10_000, 0))
    assert main(["compare", "--preset", "digits", "--weights", "none", "--device", "cpu", "--inline"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: the weights and the optimiser state of 2 arms need")


@pytest.mark.slow
def test_the_command_line_warns_and_races_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "CGROUP", container(tmp_path / "group", 10**8, 0))
    words = "--preset digits --weights none --train-images 40 --epochs 1 --device cpu --threads 1 --inline"
    assert main(["compare", *words.split()]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("This race needs about 0.4 GB, and this machine has 0.1 GB free. It needs ")
    assert "finished" in out


@pytest.mark.slow
def test_a_vision_transformer_of_300_million_parameters_is_estimated_without_its_memory() -> None:
    large = describe.describe(TreeRequest("vit_l_16", 2, (3, 224, 224)))
    parameters = large.root.parameter_count
    assert parameters > 300_000_000 and large.saved is not None
    race = config(model=ModelConfig("vit_l_16", "none"), recipe=Recipe(batch_size=1))
    found = estimate(race, large, DataShape(2, (3, 224, 224), (), 10, 10))
    assert found.weights + found.gradients + found.optimizer_state == 4 * parameters * 3
    # 24 layers, each of which saves at least its MLP's hidden numbers twice, and queries, keys and values.
    assert found.activations > 24 * 197 * (2 * 4096 + 3 * 1024) * 4


def peak_of(program: str) -> int:
    """The largest resident memory of a Python process of its own, in bytes.

    It reads its own high-water mark: what a parent is told of a child counts the parent's memory at the fork as well.
    """
    told = f"{program}\nprint(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.matrix  # half a minute for one figure that hardly ever changes
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="a process's peak is read from /proc")
def test_the_peak_of_a_real_race_is_near_the_estimate(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "images", {"red": 45, "green": 45}, (96, 96))
    data = DataConfig("folder", path=str(folder), image_size=96)
    shape = data_shape(data, model_info("resnet18"))
    network = describe.describe(TreeRequest("resnet18", shape.num_classes, shape.input_shape))
    multirate = ArmConfig("multirate", "multirate", to_spec(preset("head", network, 5), network))
    race = config(SGD, multirate, model=ModelConfig("resnet18", "none"), data=data, recipe=Recipe(batch_size=32))
    needed = replace(estimate(race, network, shape), program=0).total
    words = "--model resnet18 --weights none --data folder --image-size 96 --batch-size 32 --epochs 1 --fast head --k 5"
    options = [*words.split(), "--data-path", str(folder), "--device", "cpu", "--threads", "1", "--inline"]
    idle = peak_of("import torch, torchvision, multirate_core.race")
    used = peak_of(f"from multirate_core.cli.program import main\nassert main({['compare', *options]}) == 0") - idle
    assert 0.5 * needed < used < 1.6 * needed, (used, needed)


def test_a_counted_peak_of_a_step_takes_the_place_of_the_tree_and_lean_races_keep_theirs() -> None:
    everything, _ = numbers()
    shape = data_shape(config().data, model_info("glyph_net"))
    counted = estimate(config(), tree(), shape, step_peak=50_000_000)
    lasting = 4 * everything * 3  # weights, momenta, gradients
    assert counted.activations == pytest.approx(50_000_000 - lasting, abs=counted.micro_batch)
    assert counted.model == need(config()).model
    lean = config(slow_arm(), execution=Execution(memory="lean"))
    assert estimate(lean, tree(), shape, step_peak=50_000_000) == need(lean)
    assert estimate(config(), tree(), shape, step_peak=1).activations == 0
