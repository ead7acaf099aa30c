"""Bytes of memory that a race needs, by part: counted from the layer tree, the recipe and the size of the data.

All lanes of a seed are in memory at once and take turns: each has weights and optimiser state of its own, and a plain
arm keeps its last gradients meanwhile. Activations exist only in the lane whose turn it is. Left out: buffers, the
gradients of activations, and what kernels need for themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from multirate_core.config import ArmConfig, RaceConfig
from multirate_core.data.catalog import DATASETS, DataShape
from multirate_core.data.room import fits_memory
from multirate_core.layers.tree import LayerTree
from multirate_core.partition import resolve

NUMBER_BYTES: Final = 4  # of a weight, a gradient, a token
PROGRAM_BYTES: Final = 400_000_000  # Python with torch and torchvision, before it has a network
# Of float32's activations, what autocast to bf16 saves: between 0.50 (EfficientNet) and 0.78 (DistilBERT).
BF16_SHARE: Final = 0.6


@dataclass(frozen=True)
class MemoryEstimate:
    """What a race needs, in bytes.

    Args:
        weights: of all arms.
        gradients: of all arms at the worst moment.
        optimizer_state: momenta, moments and held directions of all arms.
        first_copy: of the weights from which the arms start, if there is one arm only: with several, others' weights
            take its place.
        activations_fixed: of the arm that keeps the most, once per micro-batch.
        activations_per_sample: of that arm; None if they could not be counted.
        micro_batch: samples that go through the network at once.
        data: the samples, where they are in memory.
        data_file: of the images, where they are read from a file on disk.
        sample: one sample of the data.
        test_samples: how many of them are for testing.
        program: Python and its libraries.
    """

    weights: int
    gradients: int
    optimizer_state: int
    first_copy: int
    activations_fixed: int
    activations_per_sample: int | None
    micro_batch: int
    data: int
    data_file: int
    sample: int
    test_samples: int
    program: int = PROGRAM_BYTES

    @property
    def model(self) -> int:
        """Weights, gradients and optimiser state of all arms."""
        return self.weights + self.gradients + self.optimizer_state + self.first_copy

    @property
    def activations(self) -> int:
        """What the arm that keeps the most saves for its backward pass."""
        return self.activations_fixed + self.micro_batch * (self.activations_per_sample or 0)

    @property
    def total(self) -> int:
        """Everything, the program included, but not what lies on disk."""
        return self.program + self.model + self.activations + self.data


def estimate(config: RaceConfig, tree: LayerTree, shape: DataShape, step_peak: int | None = None) -> MemoryEstimate:
    """Count what a race needs.

    Args:
        config: of the race.
        tree: of its network.
        shape: of its data.
        step_peak: most bytes in tensors during a step of the plain arm alone, where the cost meter has counted them:
            that knows what kernels and the gradients of activations take. None counts from the tree.

    Raises:
        PartitionError: the partition of an arm does not fit the network.
    """
    arms = [_arm_numbers(arm, config, tree) for arm in config.arms]
    weights = tree.root.parameter_count
    resting = sum(arm.resting_gradients for arm in arms)
    working = max(arm.gradients - arm.resting_gradients for arm in arms)
    fixed, per_sample = _activations(config, tree, step_peak)
    image = len(shape.input_shape) == 3
    sample = _product(tree.input_shape) * (1 if image else NUMBER_BYTES)
    count = shape.train_images + shape.test_images
    on_disk = DATASETS[config.data.name].source in ("folder", "photos") and not fits_memory(
        count, tree.input_shape[0], tree.input_shape[-1]
    )
    most = shape.train_images or config.recipe.batch_size
    return MemoryEstimate(
        weights=NUMBER_BYTES * weights * len(arms),
        gradients=NUMBER_BYTES * (resting + working),
        optimizer_state=NUMBER_BYTES * sum(arm.state for arm in arms),
        first_copy=NUMBER_BYTES * weights if len(arms) == 1 else 0,
        activations_fixed=fixed,
        activations_per_sample=per_sample,
        micro_batch=min(config.recipe.micro_batch_size, most),
        data=0 if on_disk else count * sample,
        data_file=count * sample if on_disk else 0,
        sample=sample,
        test_samples=shape.test_images,
    )


def on_gpu(need: MemoryEstimate, data_room: float) -> MemoryEstimate:
    """Return what of a need lies in a GPU's own memory.

    Args:
        need: of the race.
        data_room: the data lie there too if they take at most so many bytes.
    """
    data = need.data + need.data_file
    return replace(need, program=0, first_copy=0, data=data if data <= data_room else 0, data_file=0)


@dataclass(frozen=True)
class _ArmNumbers:
    """How many numbers an arm holds: its state, its gradients in a full step, and those while other arms train."""

    state: int
    gradients: int
    resting_gradients: int


def _arm_numbers(arm: ArmConfig, config: RaceConfig, tree: LayerTree) -> _ArmNumbers:
    """Count the numbers of one arm beside its weights."""
    recipe = config.recipe
    per_weight = 2 if recipe.base == "adamw" else 1 if recipe.momentum else 0
    trained = sum(parameter.numel for parameter in tree.trainable())
    if arm.partition is None:
        return _ArmNumbers(per_weight * trained, trained, trained)
    assignment = resolve(arm.partition, tree).assignment
    fast_groups = {group.name for group in arm.partition.groups if group.period == 1}
    fast = sum(each.numel for each in tree.trainable() if assignment[each.name] in fast_groups)
    if arm.kind == "frozen":
        return _ArmNumbers(per_weight * fast, fast, fast)
    # A slow group drifts along its momentum where that is the direction, else along one that it holds beside.
    holds = arm.drift and (recipe.base == "adamw" or recipe.nesterov or not recipe.momentum)
    return _ArmNumbers(per_weight * trained + (trained - fast if holds else 0), trained, fast)


def _activations(config: RaceConfig, tree: LayerTree, step_peak: int | None) -> tuple[int, int | None]:
    """Return the bytes once per micro-batch and per sample, of the arm that keeps the most."""
    lean = config.execution.memory == "lean" and all(arm.kind == "multirate" for arm in config.arms)
    if step_peak is not None and not lean:
        plain = _arm_numbers(ArmConfig("sgd", "sgd"), config, tree)
        lasting = NUMBER_BYTES * (tree.root.parameter_count + plain.state + plain.gradients)
        return 0, max(0, step_peak - lasting) // config.recipe.micro_batch_size
    if tree.saved is None:
        return 0, None
    fixed, per_sample = (
        (tree.saved.lean_fixed, tree.saved.lean_per_sample) if lean else (tree.saved.fixed, tree.saved.per_sample)
    )
    if config.execution.precision == "bf16":  # with the weights in that precision
        return round(BF16_SHARE * fixed) + 2 * tree.root.parameter_count, round(BF16_SHARE * per_sample)
    return fixed, per_sample


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
