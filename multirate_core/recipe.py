"""How every arm of a race trains and computes: two frozen dataclasses, checked when they are made.

`config` gives their names on. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from multirate_core.checks import require_choice, require_flag, require_number, require_whole
from multirate_core.errors import ConfigError

MAX_FACTOR = 1e30  # of lr and weight decay: even times the longest period, 1,000,000, it is a float32
MAX_BATCH = 65_536

BaseRule = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine", "linear", "one_cycle"]
Precision = Literal["float32", "bf16"]
Memory = Literal["plain", "lean"]

BASE_TITLES: Mapping[str, str] = {"sgd": "SGD", "adamw": "AdamW"}


@dataclass(frozen=True)
class Recipe:
    """How every arm trains: the same numbers for all of them.

    Args:
        lr: per-step size h/k, what the plain base rule would use; > 0 and <= 1e30. With a schedule or a warm-up, the
            largest one of the run.
        momentum: 0 <= momentum < 1, of SGD. AdamW has none: there it must be left as it is, so that no number that
            somebody chose goes unused.
        weight_decay: >= 0 and <= 1e30; added to the gradient (L2) by SGD, decoupled with AdamW.
        batch_size: images per step, >= 1.
        base: "sgd", or "adamw" with torch's own betas (0.9, 0.999) and eps 1e-8.
        nesterov: Nesterov momentum; needs SGD and a momentum > 0.
        schedule: of the learning rate over the run, see `optim.lr_factor`. A run's progress is its share of the steps
            with a budget of epochs, and its share of the arm's own training seconds with a budget of seconds.
        warmup: share of the run in which the learning rate rises, 0 <= warmup < 1; 0 is no warm-up, and with
            "one_cycle", which always rises, its usual 0.3.
        label_smoothing: 0 <= label_smoothing < 1, of the training loss only.
        clip_norm: largest norm, > 0, of all gradients of a step taken together; None clips nothing.
        decay_norms: False leaves parameters of at most one dimension (norms, biases) without weight decay.
        accumulate: a step's batch goes through the network in so many parts, one after the other, whose gradients add
            up to the batch's; from 1 to batch_size.
    """

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 32
    base: BaseRule = "sgd"
    nesterov: bool = False
    schedule: Schedule = "constant"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    decay_norms: bool = True
    accumulate: int = 1

    def __post_init__(self) -> None:
        require_number("lr", self.lr, above=0.0, most=MAX_FACTOR)
        require_number("momentum", self.momentum, least=0.0, below=1.0)
        require_number("weight_decay", self.weight_decay, least=0.0, most=MAX_FACTOR)
        require_whole("batch_size", self.batch_size, 1, MAX_BATCH)
        require_choice("base", self.base, get_args(BaseRule))
        require_flag("nesterov", self.nesterov)
        require_choice("schedule", self.schedule, get_args(Schedule))
        require_number("warmup", self.warmup, least=0.0, below=1.0)
        require_number("label_smoothing", self.label_smoothing, least=0.0, below=1.0)
        if self.clip_norm is not None:
            require_number("clip_norm", self.clip_norm, above=0.0, most=MAX_FACTOR)
        require_flag("decay_norms", self.decay_norms)
        require_whole("accumulate", self.accumulate, 1, MAX_BATCH)
        self._require_fit()

    def _require_fit(self) -> None:
        """Raise ConfigError where one setting does not go with another."""
        if self.base == "adamw" and self.momentum != Recipe.momentum:
            raise ConfigError(
                f"momentum belongs to SGD, got {self.momentum:g} with the base adamw, which would not use it. "
                "Leave it out, or choose the base sgd."
            )
        if self.nesterov and (self.base == "adamw" or self.momentum == 0):
            got = "the base adamw" if self.base == "adamw" else "momentum 0"
            raise ConfigError(f"nesterov needs SGD with a momentum > 0, got {got}. Turn it off, or change the other.")
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"accumulate must be at most the batch size, which it divides, got {self.accumulate} for a batch of "
                f"{self.batch_size}. Use a larger batch or fewer parts."
            )

    @property
    def micro_batch_size(self) -> int:
        """Images that go through the network at once in training."""
        return -(-self.batch_size // self.accumulate)

    @property
    def varies_lr(self) -> bool:
        """Whether the learning rate changes in the course of a run."""
        return self.schedule != "constant" or self.warmup > 0


@dataclass(frozen=True)
class Execution:
    """How every arm computes: the same method, with other speed, memory and rounding.

    Args:
        precision: "bf16" runs forward pass and loss under torch's autocast; parameters and updates stay float32.
        channels_last: convolution weights and images lie with the channels innermost.
        compile: torch.compile of every lane's network; the time that it takes is no training time.
        memory: "lean" recomputes the slow part's activations instead of keeping them; only multirate arms keep any
            that they do not need, so only they look at it.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False
    memory: Memory = "plain"

    def __post_init__(self) -> None:
        require_choice("precision", self.precision, get_args(Precision))
        require_flag("channels_last", self.channels_last)
        require_flag("compile", self.compile)
        require_choice("memory", self.memory, get_args(Memory))
        if self.compile and self.memory == "lean":
            raise ConfigError(
                "memory 'lean' cannot be combined with compile, which decides by itself what it keeps. "
                "Turn one of them off."
            )
