"""Races on texts: tiny checkpoints of real families on a small table, as on images."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from race_cases import only
from text_cases import save_checkpoint

from multirate_core.config import (
    ArmConfig,
    Budget,
    DataConfig,
    Execution,
    GroupSpec,
    ModelConfig,
    PartitionSpec,
    RaceConfig,
    Recipe,
    Rule,
)
from multirate_core.errors import ConfigError, ModelError
from multirate_core.events import EnvironmentFound, Evaluated, Event, LaneEnded, StepsRecorded
from multirate_core.race import run

pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = pytest.mark.slow

HEAD_FAST = PartitionSpec(
    (GroupSpec("fast", 1), GroupSpec("slow", 3)), (Rule("*classifier*", "fast"), Rule("*", "slow"))
)
ARMS = (
    ArmConfig("sgd", "sgd"),
    ArmConfig("multirate", "multirate", HEAD_FAST),
    ArmConfig("frozen", "frozen", HEAD_FAST),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    """Reviews of two kinds; one word says which."""
    draw = random.Random(0)
    rows = []
    for number in range(160):
        words = [draw.choice(["the", "film", "was", "very", "it", "and"]) for _ in range(draw.randint(2, 9))]
        words.insert(draw.randint(0, len(words)), ("bad", "good")[number % 2])
        rows.append(f"{' '.join(words)},{('negative', 'positive')[number % 2]}")
    path = folder / "reviews.csv"
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["distilbert", "bert", "roberta", "deberta-v2"])
def config(request: pytest.FixtureRequest, folder: Path, table: Path) -> RaceConfig:
    source = save_checkpoint(request.param, folder / request.param)
    return RaceConfig(
        arms=ARMS,
        model=ModelConfig("hugging_face", source=str(source)),
        data=DataConfig("table", path=str(table)),
        recipe=Recipe(lr=0.05, batch_size=16),
        budget=Budget(epochs=8),
        device="cpu",
        threads=1,
    )


@pytest.fixture(scope="module")
def epoch(config: RaceConfig) -> list[Event]:
    """What a race of one epoch says, on every family."""
    return events_of(replace(config, budget=Budget(epochs=1)))


def events_of(config: RaceConfig) -> list[Event]:
    return list(run(config, lambda: "go"))


def losses(events: list[Event], lane: int) -> list[float]:
    return [loss for piece in only(StepsRecorded, events, lane) for loss in piece.loss]


def test_all_arms_race_on_texts_and_those_that_train_the_body_learn_the_word(config: RaceConfig) -> None:
    # Small random transformers hardly move with SGD.
    events = events_of(replace(config, recipe=Recipe(lr=0.003, batch_size=16, base="adamw")))
    assert [end.outcome for end in only(LaneEnded, events)] == ["finished"] * 3
    for lane in range(3):
        tests = only(Evaluated, events, lane)
        assert len(tests) >= 9 and tests[0].accuracy == only(Evaluated, events, 0)[0].accuracy
    assert only(Evaluated, events, 0)[-1].loss < 0.7 * only(Evaluated, events, 0)[0].loss
    assert only(Evaluated, events, 1)[-1].loss < only(Evaluated, events, 1)[0].loss
    facts = only(EnvironmentFound, events)[0].values
    assert (facts["train_images"], facts["test_images"], facts["classes"]) == ("128", "32", "2")
    assert "Hugging Face" in facts["notes"] and "head is new" in facts["notes"]


def test_slow_parts_of_a_text_network_are_due_every_third_step_and_frozen_ones_never(epoch: list[Event]) -> None:
    due = {lane: [bits for piece in only(StepsRecorded, epoch, lane) for bits in piece.due] for lane in (1, 2)}
    assert due[1] == [0b11, 0b01, 0b01, 0b11, 0b01, 0b01, 0b11, 0b01]
    assert set(due[2]) == {0b01}


def test_equal_configurations_give_equal_losses(config: RaceConfig, epoch: list[Event]) -> None:
    again = events_of(replace(config, budget=Budget(epochs=1)))
    assert losses(epoch, 0) and [losses(epoch, lane) for lane in range(3)] == [losses(again, lane) for lane in range(3)]


def test_lean_memory_recomputes_the_blocks_of_a_text_network_and_changes_no_loss(
    config: RaceConfig, epoch: list[Event]
) -> None:
    lean = events_of(replace(config, budget=Budget(epochs=1), execution=Execution(memory="lean")))
    assert losses(lean, 1) and losses(lean, 1) == losses(epoch, 1)


def test_texts_are_trained_in_bf16(config: RaceConfig, epoch: list[Event]) -> None:
    events = events_of(replace(config, budget=Budget(epochs=1), execution=Execution(precision="bf16")))
    assert losses(events, 1) and losses(events, 1) != losses(epoch, 1)


def test_what_does_not_fit_texts_is_refused_in_words(config: RaceConfig, table: Path) -> None:
    with pytest.raises(ConfigError, match="channels last is for images"):
        events_of(replace(config, execution=Execution(channels_last=True)))
    with pytest.raises(ConfigError, match="flips and crops are for images"):
        events_of(replace(config, data=replace(config.data, augment="flip")))
    with pytest.raises(ModelError, match="takes images, and the data set Table of texts holds texts"):
        events_of(replace(config, model=ModelConfig()))
    with pytest.raises(ModelError, match="takes texts, and the data set Handwritten digits holds images"):
        events_of(replace(config, data=DataConfig("digits")))
    with pytest.raises(ModelError, match="at most 512 tokens, got max_tokens 600"):
        events_of(replace(config, data=DataConfig("table", path=str(table), max_tokens=600)))
    with pytest.raises(ConfigError, match=r"needs a path: a \.csv"):
        events_of(replace(config, data=DataConfig("table")))
