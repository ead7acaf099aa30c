"""One arm at one seed: its model, optimiser, random states, place in the data and clock of training seconds."""

from __future__ import annotations

import math
import time
from array import array
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from multirate_core.arms import ArmOptimizer
from multirate_core.config import Budget
from multirate_core.training.batches import TrainingOrder
from multirate_core.training.evaluation import Score, batches_of, evaluate, logits_of, testing
from multirate_core.training.forward import Forward
from multirate_core.training.micro_batches import micro_batches
from multirate_core.training.randomness import Randomness
from multirate_core.training.samples import Inputs, Samples, device_of
from multirate_core.training.timers import SliceTimer, SliceTimes


@dataclass(frozen=True)
class Piece:
    """Consecutive steps of one lane.

    Args:
        first_step: 0-based index of the first one.
        train_seconds: the lane's clock after each step.
        loss: minibatch losses, all finite.
        step_seconds: of each step.
        due: bit g is set where group g had a gradient.
        trained_s: training seconds of the piece.
        loading_s: seconds spent on batches.
        compiling_s: seconds spent on graphs for kinds of steps that were new.
        other_s: seconds around the steps: random states put in place, losses fetched; steps after a divergence.
        diverged: whether there was such a step, right after the last one here.
    """

    first_step: int
    train_seconds: array[float]
    loss: array[float]
    step_seconds: array[float]
    due: array[int]
    trained_s: float
    loading_s: float
    compiling_s: float
    other_s: float
    diverged: bool


@dataclass(eq=False)
class Lane:
    """One line of the race while it runs.

    Args:
        number: of the lane in the race.
        name: of the arm.
        forward: calls the lane's own network, which is on the device and in train mode.
        arm: its optimiser.
        order: its walk through the training samples.
        randomness: its random states.
        timer: fits the device.
        budget: the run, whose share that is over sets the learning rate.
    """

    number: int
    name: str
    forward: Forward
    arm: ArmOptimizer
    order: TrainingOrder
    randomness: Randomness
    timer: SliceTimer
    budget: Budget
    steps: int = 0
    train_seconds: float = 0.0
    _first_step_s: float = 0.0

    @property
    def model(self) -> nn.Module:
        """The lane's own network."""
        return self.forward.model

    @property
    def epochs(self) -> float:
        """Epochs done, with fraction."""
        return self.steps / self.order.steps_per_epoch

    @property
    def steps_to_epoch_end(self) -> int:
        """Steps until the present epoch is over, at least 1."""
        return self.order.steps_per_epoch - self.steps % self.order.steps_per_epoch

    @property
    def step_s(self) -> float | None:
        """Mean seconds of a step so far, without the first one if there are others (it allocates); None before it."""
        if self.steps < 2:
            return self.train_seconds if self.steps else None
        return (self.train_seconds - self._first_step_s) / (self.steps - 1)

    def train(self, most_steps: int, most_seconds: float) -> Piece:
        """Take steps until either limit is reached, at least one.

        Where the clock is read only at the end of a piece, the number of steps is planned from the mean so far.
        """
        losses: list[Tensor] = []
        due = array("Q")
        compiling_s = 0.0
        called = time.perf_counter()
        with self.randomness.active(), self.forward.strict():
            begun = time.perf_counter()
            self.timer.begin()
            batches = self.order.take(self._planned(most_steps, most_seconds))
            for inputs, labels in list(batches) if self.timer.ahead else batches:
                due.append(self.arm.due())
                compiling_s += self._compile_step(inputs, labels)
                self.timer.start()
                self.arm.set_rates(self._progress(len(losses)))
                losses.append(train_step(self.forward, self.arm, inputs, labels))
                self.timer.stop()
                if self.timer.trained_s >= most_seconds:
                    break
            times = self.timer.finish()
            over = time.perf_counter()
        piece = self._piece(torch.stack(losses).tolist(), due, times, compiling_s)
        around_s = begun - called + time.perf_counter() - over
        return replace(piece, other_s=piece.other_s + around_s)

    def evaluate(self, samples: Samples, batch_size: int) -> Score:
        """Test the model on all samples; nothing of the training changes."""
        with self.forward.strict(), self._one_kind_of_test():
            return evaluate(self.forward, samples, batch_size)

    def compile_evaluation(self, samples: Samples, batch_size: int) -> None:
        """Compile what the next test of the model needs; nothing to do if that was done, or nothing is compiled."""
        calls = self.forward.calls
        if calls is None:
            return
        batches = batches_of(samples, batch_size)
        with self._one_kind_of_test(), testing(self.model):
            for rows in (batches[0], batches[-1]):
                inputs, _ = samples.batch(rows)
                calls.compile_for(inputs, partial(logits_of, self.forward, inputs))

    def _one_kind_of_test(self) -> AbstractContextManager[None]:
        """Hide which groups are due next: a compiled network would need a graph for each."""
        return nullcontext() if self.forward.calls is None else self.arm.all_gradients()

    def _compile_step(self, inputs: Inputs, labels: Tensor) -> float:
        """Compile what the next step needs, and return the seconds that it took; mostly there is nothing to do."""
        calls = self.forward.calls
        if calls is None:
            return 0.0
        self.arm.optimizer.zero_grad(set_to_none=True)  # the step's own flags
        parts = micro_batches(inputs, labels, self.arm.recipe.micro_batch_size)
        return sum(calls.compile_for(part.inputs, partial(gradients, self.forward, *part)) for part in parts)

    def _progress(self, taken: int) -> float:
        """Return the share of the run that is over before the next step.

        Where the clock is read only at the end of a piece, the steps of the piece count with the mean so far.

        Args:
            taken: steps of this piece so far; `steps` and `train_seconds` do not count them yet.
        """
        if self.budget.seconds is None:
            return (self.steps + taken) / ((self.budget.epochs or 1) * self.order.steps_per_epoch)
        spent = self.timer.trained_s if self.timer.live else taken * (self.step_s or 0.0)
        return (self.train_seconds + spent) / self.budget.seconds

    def _planned(self, most_steps: int, most_seconds: float) -> int:
        """Return how many steps fit into the seconds, at least 1; a live timer stops by itself."""
        if self.timer.live:
            return most_steps
        if self.step_s is None:
            return 1
        return max(1, min(most_steps, math.ceil(most_seconds / max(self.step_s, 1e-7))))

    def _piece(self, losses: list[float], due: array[int], times: SliceTimes, compiling_s: float) -> Piece:
        """Note the finite steps, move the clock, and say whether the rest diverged."""
        step_s = times.step_s
        finite = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        first, clock = self.steps, array("d")
        for seconds in step_s[:finite]:
            self.train_seconds += seconds
            clock.append(self.train_seconds)
        if first == 0:
            self._first_step_s = step_s[0]
        self.steps += finite
        return Piece(
            first_step=first,
            train_seconds=clock,
            loss=array("f", losses[:finite]),
            step_seconds=array("f", step_s[:finite]),
            due=due[:finite],
            trained_s=sum(step_s[:finite]),
            # Graphs are made between two steps, where the timer sees a batch being loaded.
            loading_s=max(0.0, times.loading_s - compiling_s),
            compiling_s=compiling_s,
            other_s=sum(step_s[finite:]),
            diverged=finite < len(losses),
        )


def train_step(forward: Forward, arm: ArmOptimizer, inputs: Inputs, labels: Tensor) -> Tensor:
    """Take one step of an ordinary training loop and return the minibatch loss, still on the device.

    Args:
        forward: of the network that the optimiser trains.
        arm: the optimiser, its recipe, and what belongs to each of its steps.
        inputs: of one batch, as `Samples.batch` gives them.
        labels: int64 (B,).
    """
    recipe = arm.recipe
    arm.optimizer.zero_grad(set_to_none=True)
    parts = micro_batches(inputs, labels, recipe.micro_batch_size)
    losses = [gradients(forward, *part, recipe.label_smoothing) for part in parts]
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(forward.model.parameters(), recipe.clip_norm)
    arm.optimizer.step()
    arm.after_step()
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def gradients(forward: Forward, inputs: Inputs, labels: Tensor, share: float = 1.0, smoothing: float = 0.0) -> Tensor:
    """Add the gradients of the mean cross-entropy, times a share, to the parameters, and return it."""
    with forward.computing(device_of(inputs)):
        loss = functional.cross_entropy(forward(inputs), labels, label_smoothing=smoothing)
    if share != 1.0:
        loss = loss * share
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
