"""The integrations under examples/ follow the multirate schedule and equal the same training in a plain loop."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from optim_cases import assert_same_weights
from torch import Tensor, nn

from multirate_core.optim import MultirateOptimizer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOREIGN_WARNINGS = "ignore::"  # what other packages say about themselves and each other is not ours to answer for
pytestmark = pytest.mark.slow


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that imports an example by name, or skips if its package is not installed."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(name: str, package: str) -> ModuleType:
        pytest.importorskip(package, reason=f"needs {package}: pip install {package}")
        return importlib.import_module(name)

    return load


def refreshed(optimizer: MultirateOptimizer, seen: list[tuple[str, ...]]) -> None:
    """Write down at every step which groups got a gradient, and hold that only those had one."""

    def before(each: MultirateOptimizer, *_: object) -> None:
        for group in each.param_groups:
            assert [weight.grad is not None for weight in group["params"]] == [group["due"]] * len(group["params"])

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(lambda each, *_: seen.append(each.last_refreshed))


def schedule(steps: int, period: int) -> list[tuple[str, ...]]:
    return [("fast", "slow") if step % period == 0 else ("fast",) for step in range(steps)]


def assert_close_weights(model: nn.Module, other: nn.Module) -> None:
    for (name, weight), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: name + text)


def test_the_plain_loop_learns_the_digits(example: Any) -> None:
    assert example("plain_loop", "sklearn").main(epochs=12) > 90


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_accelerate_with_accumulation_and_clipping_equals_a_plain_loop(
    example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = example("accelerate_loop", "accelerate")
    models, seen = [], []

    def optimizer_that_is_watched(model: nn.Sequential) -> MultirateOptimizer:
        models.append(model)
        made = original(model)
        refreshed(made, seen)
        return made

    original = loop.make_optimizer
    monkeypatch.setattr(loop, "make_optimizer", optimizer_that_is_watched)
    loop.main(epochs=2)

    plain = loop.make_model()
    optimizer = original(plain)
    loader = loop.make_data()
    for _ in range(2):
        for i, (images, labels) in enumerate(loader):
            (nn.functional.cross_entropy(plain(images), labels) / 2).backward()
            if i % 2 == 1 or i == len(loader) - 1:
                nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
                optimizer.step()
                optimizer.zero_grad()
    assert seen == schedule(2 * ((len(loader) + 1) // 2), 4)
    assert_close_weights(models[0], plain)


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_accelerates_own_checkpoint_resumes_in_mid_cycle(example: Any, tmp_path: Path) -> None:
    loop = example("accelerate_loop", "accelerate")
    ends = []
    for stops in (False, True):
        accelerator, model, optimizer, loader = prepared(loop)
        for i, (images, labels) in enumerate(list(loader)[:13]):
            if stops and i == 6:
                accelerator.save_state(tmp_path)
                accelerator, model, optimizer, _ = prepared(loop)
                accelerator.load_state(tmp_path)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        ends.append(model)
    assert_same_weights(*ends)


def prepared(loop: ModuleType) -> tuple[Any, ...]:
    from accelerate import Accelerator

    accelerator, model = Accelerator(cpu=True), loop.make_model()
    return accelerator, *accelerator.prepare(model, loop.make_optimizer(model), loop.make_data())


def watch_batches(trainer: Any, seen: list[dict[str, Tensor]]) -> None:
    """Keep every batch that a Hugging Face Trainer trains on."""
    original = trainer.training_step

    def training_step(model: nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        seen.append({name: value.clone() for name, value in inputs.items()})
        return original(model, inputs, *rest)

    trainer.training_step = training_step


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_the_hugging_face_trainer_with_accumulation_clipping_and_a_schedule_equals_a_plain_loop(
    example: Any, tmp_path: Path
) -> None:
    module = example("hf_trainer", "transformers")
    trainer = module.make_trainer(str(tmp_path), max_steps=10)
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    optimizer, batches, seen = trainer.optimizer, [], []
    refreshed(optimizer, seen)
    watch_batches(trainer, batches)
    trainer.train()
    assert seen == schedule(10, 3)

    plain = module.make_model(len(module.tokenised()[0]))
    plain.load_state_dict(start)
    plain.train()
    own = module.make_optimizer(plain)
    scheduler = module.get_linear_schedule_with_warmup(own, 3, 10)
    assert len(batches) == 20
    for i, batch in enumerate(batches):
        (plain(**batch).loss / 2).backward()  # two batches of five, averaged
        if i % 2 == 1:
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            own.step()
            scheduler.step()
            plain.zero_grad()
    assert_close_weights(trainer.model, plain)


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_the_hugging_face_trainer_resumes_in_mid_cycle(example: Any, tmp_path: Path) -> None:
    module = example("hf_trainer", "transformers")
    whole = module.make_trainer(str(tmp_path), max_steps=12, save_strategy="steps", save_steps=4)
    whole.train()
    resumed = module.make_trainer(str(tmp_path), max_steps=12)
    seen: list[tuple[str, ...]] = []
    refreshed(resumed.optimizer, seen)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert seen == schedule(12, 3)[4:]  # in the middle of a cycle
    assert_same_weights(resumed.model, whole.model)


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_lightning_with_validation_clipping_and_a_schedule_equals_a_plain_loop(
    example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("lightning_module", "lightning")
    model, seen = module.DigitClassifier(), []
    original = model.configure_optimizers
    monkeypatch.setattr(model, "configure_optimizers", lambda: watched(original(), seen))
    train, _ = data = module.make_data()
    module.make_trainer(max_epochs=2, accumulate_grad_batches=2).fit(model, *data)

    plain = module.DigitClassifier()
    parts = plain.configure_optimizers()
    optimizer, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert len(train) % 2 == 0
    for _ in range(2):
        for i, batch in enumerate(train):
            (plain.training_step(batch, i) / 2).backward()
            if i % 2 == 1:
                nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
    assert seen == schedule(len(train), 4)
    assert_close_weights(model, plain)


def watched(parts: dict[str, Any], seen: list[tuple[str, ...]]) -> dict[str, Any]:
    refreshed(parts["optimizer"], seen)
    return parts


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_lightning_resumes_in_mid_cycle_from_its_own_checkpoint(example: Any, tmp_path: Path) -> None:
    module = example("lightning_module", "lightning")
    data = module.make_data()
    whole, half, resumed = (module.DigitClassifier() for _ in range(3))
    module.make_trainer(max_epochs=2).fit(whole, *data)
    trainer = module.make_trainer(max_epochs=1)
    trainer.fit(half, *data)
    assert trainer.global_step % 4 == 2
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    module.make_trainer(max_epochs=2).fit(resumed, *data, ckpt_path=tmp_path / "half.ckpt")
    assert_same_weights(resumed, whole)


@pytest.mark.filterwarnings(FOREIGN_WARNINGS)
def test_lightnings_toggle_between_two_multirate_optimisers_keeps_both_in_their_cycles(example: Any) -> None:
    module = example("lightning_module", "lightning")
    train, _ = module.make_data()
    batches = list(train)[:12]

    class Two(module.DigitClassifier):
        """Two networks, trained in turn by hand, each with an optimiser of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.other = module.DigitClassifier()
            self.seen: list[list[tuple[str, ...]]] = [[], []]

        def configure_optimizers(self) -> list[MultirateOptimizer]:
            made = [part.configure_optimizers()["optimizer"] for part in (super(), self.other)]
            for optimizer, seen in zip(made, self.seen, strict=True):
                refreshed(optimizer, seen)
            return made

        def training_step(self, batch: list[Tensor], index: int) -> None:
            for optimizer, part in zip(self.optimizers(), (super(), self.other), strict=True):
                self.toggle_optimizer(optimizer)
                optimizer.zero_grad()
                self.manual_backward(part.training_step(batch, index))
                optimizer.step()
                self.untoggle_optimizer(optimizer)

    both = Two()
    module.make_trainer(max_epochs=1, limit_train_batches=12, gradient_clip_val=None).fit(both, train)
    plain = module.DigitClassifier()
    optimizer = plain.configure_optimizers()["optimizer"]
    for i, batch in enumerate(batches):
        optimizer.zero_grad()
        plain.training_step(batch, i).backward()
        optimizer.step()
    assert both.seen == [schedule(12, 4), schedule(12, 4)]
    assert_close_weights(both.other, plain)
    assert_close_weights(nn.ModuleList([both.body, both.head]), plain)
