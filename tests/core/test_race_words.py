"""What the pages say about a race: its state in words, the difference of two, table rows and CSV."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, get_args

import pytest
from plot_races import config, partition
from race_rows import ended, forecast, lane, parsed, row

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
from multirate_core.events import OUTCOMES
from multirate_core.store.rows import State
from pages.components.race.words import (
    arms_text,
    budget_text,
    difference,
    fast_text,
    recipe_text,
    runs_csv,
    setting_text,
    state_line,
    table_row,
)

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")')


# What is said


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"phase": "training seed 0", "seconds_left": 80.0}, "training seed 0 on cpu, about 1 min 20 s left"),
        ({"seconds_left": None}, "Running on cpu"),
        ({"state": "starting", "device": "cuda:1"}, "Starting a worker on cuda:1 …"),
        (
            {"state": "queued", "candidates": ("cuda:0", "cuda:1"), "queue_position": 2, "wait_seconds": 7500.0},
            "Waiting for cuda:0 or cuda:1: number 2 in the queue, in about 2 h 5 min.",
        ),
        ({"state": "queued", "queue_position": 1}, "Waiting for cpu: number 1 in the queue."),
        ({"state": "paused"}, "Paused. After two minutes cpu goes to the next race."),
        ({"state": "parked"}, "Paused; cpu was given to the next race. Resume waits for it again."),
        ({"state": "ended", "outcome": "finished"}, "Finished."),
        ({"state": "ended", "outcome": "stopped"}, "Stopped on request."),
        ({"state": "ended", "outcome": "diverged"}, "Diverged."),
        ({"state": "ended", "outcome": "out_of_memory"}, "Ran out of memory."),
        ({"state": "ended", "outcome": "failed"}, "Failed."),
        ({"state": "ended", "outcome": "lost"}, "Lost: its worker died."),
    ],
)
def test_every_state_and_outcome_has_a_line_of_its_own(changes: dict[str, Any], line: str) -> None:
    assert state_line(row(**changes)) == line


def test_no_state_and_no_outcome_is_without_a_line() -> None:
    lines = {state_line(row(state=state, outcome="failed")) for state in get_args(State)}
    assert len(lines) == len(get_args(State))
    assert len({state_line(row(state="ended", outcome=outcome)) for outcome in OUTCOMES}) == len(OUTCOMES)


def test_budgets_and_arms_are_short() -> None:
    assert budget_text(config()) == "5 epochs"
    assert budget_text(dataclasses.replace(config(), budget=Budget(epochs=1))) == "1 epoch"
    assert budget_text(dataclasses.replace(config(), budget=Budget(seconds=60.0))) == "60 s"
    assert arms_text(config(period=7)) == "sgd, multirate (1, 7)"
    frozen = ArmConfig("frozen", "frozen", partition())
    assert arms_text(dataclasses.replace(config(), arms=(frozen,))) == "frozen"


def split(*rules: tuple[str, str], **periods: int) -> PartitionSpec:
    """A partition by its rules (pattern, group) and the periods of its groups."""
    return PartitionSpec(tuple(GroupSpec(*each) for each in periods.items()), tuple(Rule(*each) for each in rules))


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (ArmConfig("multirate", "multirate", partition()), ["fast: fc", "slow every 5 steps"]),
        (ArmConfig("multirate", "multirate", partition(), drift=False), ["fast: fc", "slow every 5 steps", "no drift"]),
        (ArmConfig("frozen", "frozen", partition()), ["fast: fc", "slow frozen"]),
        (
            ArmConfig("other", "multirate", split(("conv1", "slow"), ("*", "fast"), fast=1, slow=10)),
            ["fast: everything else", "slow every 10 steps: conv1"],
        ),
        (
            ArmConfig(
                "other", "multirate", split(*((f"l{n}", "a") for n in range(6)), ("m", "b"), ("*", "c"), a=1, b=2, c=8)
            ),
            ["a: l0, l1, l2 and 3 more", "b every 2 steps: m", "c every 8 steps"],
        ),
    ],
)
def test_a_result_says_what_it_belongs_to(arm: ArmConfig, words: list[str]) -> None:
    race = RaceConfig(arms=(ArmConfig("sgd", "sgd"), arm), budget=Budget(epochs=24))
    assert setting_text(race, arm.name) == "; ".join(["Glyph net on Handwritten digits, 24 epochs", *words])
    assert setting_text(race, "sgd") == "Glyph net on Handwritten digits, 24 epochs"


def test_a_result_says_base_rule_rates_and_how_it_was_computed() -> None:
    groups = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 5, 0.5, ((2, 1),)))
    arm = ArmConfig("multirate", "multirate", dataclasses.replace(partition(), groups=groups))
    race = dataclasses.replace(
        config(),
        arms=(ArmConfig("sgd", "sgd"), arm, ArmConfig("frozen", "frozen", arm.partition)),
        recipe=Recipe(base="adamw"),
        execution=Execution("bf16", True, memory="lean"),
    )
    start = "Glyph net on Handwritten digits, 5 epochs, AdamW, bf16, channels last"
    assert setting_text(race, "sgd") == start
    assert setting_text(race, "multirate") == (
        f"{start}, lean; fast (lr × 2): fc; slow every 5 steps (lr × 0.5, k = 1 for 2 epochs, then 5)"
    )
    assert setting_text(race, "frozen") == f"{start}; fast (lr × 2): fc; slow frozen"
    compiled = dataclasses.replace(config(), recipe=Recipe(nesterov=True), execution=Execution(compile=True))
    assert setting_text(compiled, "sgd") == "Glyph net on Handwritten digits, 5 epochs, Nesterov, compiled"
    data = dataclasses.replace(config().data, augment="crop_flip", split="random", validation_share=0.25)
    ways = "random flips and crops, tested on a random 25%"
    assert setting_text(dataclasses.replace(config(), data=data), "sgd").endswith(f"5 epochs, {ways}")
    assert arms_text(race) == "adamw, multirate (1 at lr × 2, 1→5 at lr × 0.5), frozen"
    assert recipe_text(race) == "lr 0.01, batch 32, AdamW, bf16, channels last, lean"
    assert recipe_text(compiled) == "lr 0.01, batch 32, Nesterov, compiled"


def test_groups_that_no_pattern_leads_to_are_not_named_with_the_arms() -> None:
    groups = (GroupSpec("fast", 1), GroupSpec("slow", 5))
    everything_fast = PartitionSpec(groups, (Rule("*", "fast"),))
    race = dataclasses.replace(config(), arms=(ArmConfig("multirate", "multirate", everything_fast),))
    assert arms_text(race) == "multirate (1)"


def test_a_result_says_what_was_on_in_the_recipe_and_nothing_of_what_was_not() -> None:
    recipe = Recipe(
        **{"schedule": "cosine", "warmup": 0.05, "label_smoothing": 0.1, "clip_norm": 2.0, "weight_decay": 0.01},
        **{"decay_norms": False, "accumulate": 4},
    )
    start = "Glyph net on Handwritten digits, 5 epochs"
    assert setting_text(dataclasses.replace(config(), recipe=recipe), "sgd") == (
        f"{start}, cosine schedule, warm-up over 5 %, label smoothing 0.1, gradients clipped at 2, "
        "no decay of norms and biases, 4 micro-batches per step"
    )
    for words, changes in (
        ("lr linear to 0", {"schedule": "linear"}),
        ("one-cycle schedule", {"schedule": "one_cycle"}),
        ("warm-up over 2.5 %", {"warmup": 0.025}),
    ):
        assert setting_text(dataclasses.replace(config(), recipe=Recipe(**changes)), "sgd") == f"{start}, {words}"
    assert setting_text(dataclasses.replace(config(), recipe=Recipe(decay_norms=False)), "sgd") == start


def test_names_that_no_catalog_knows_are_kept() -> None:
    race = dataclasses.replace(config(), model=ModelConfig("mine"), data=DataConfig("yours"))
    assert setting_text(race, "sgd") == "mine on yours, 5 epochs"


def test_the_table_says_what_is_fast() -> None:
    assert table_row(row())["Fast"] == "fc"
    both = (*config().arms, ArmConfig("frozen", "frozen", partition()))
    assert fast_text(RaceConfig(both)) == "fc"
    other = ArmConfig("other", "multirate", split(("conv1", "slow"), ("*", "fast"), fast=1, slow=10))
    assert fast_text(RaceConfig((*both, other))) == "fc | everything else"
    assert fast_text(RaceConfig((ArmConfig("all", "multirate", split(("*", "fast"), fast=1)),))) == "everything"
    assert fast_text(RaceConfig((ArmConfig("sgd", "sgd"),))) == ""


# The difference of two configurations


def test_equal_configurations_have_no_difference() -> None:
    assert difference(config(), config()) == []


def test_every_setting_that_differs_is_listed_once_with_both_values() -> None:
    other = dataclasses.replace(
        config(period=9), model=ModelConfig("resnet18"), recipe=Recipe(lr=0.5), budget=Budget(seconds=3.0), seeds=(0, 1)
    )
    changed = {name: (one, two) for name, one, two in difference(config(), other)}
    assert changed == {
        "arms.multirate.partition.groups.slow.period": ("5", "9"),
        "model.name": ("glyph_net", "resnet18"),
        "recipe.lr": ("0.01", "0.5"),
        "budget.epochs": ("5", "null"),
        "budget.seconds": ("null", "3.0"),
        "seeds": ("[0]", "[0, 1]"),
    }


def test_an_arm_that_only_one_has_is_a_dash_in_the_other() -> None:
    other = dataclasses.replace(config(), arms=(*config().arms, ArmConfig("ours", "multirate", partition())))
    changed = {name: (one, two) for name, one, two in difference(config(), other)}
    assert changed["arms.ours.name"] == ("–", "ours")
    assert difference(other, config()) == [(name, two, one) for name, one, two in difference(config(), other)]


# The table


def test_a_row_of_the_table_holds_means_over_seeds_and_the_ratio_of_times_per_step() -> None:
    lanes = [
        lane(0, "sgd", final_accuracy=0.9, steps=100, train_seconds=8.0),
        lane(1, "multirate", final_accuracy=0.8, steps=100, train_seconds=4.0),
        lane(2, "sgd", 1, final_accuracy=0.7, steps=100, train_seconds=12.0),
        lane(3, "multirate", 1, final_accuracy=0.6, steps=300, train_seconds=16.0),
    ]
    shown = table_row(ended(*lanes, config=config(seeds=(0, 1))))
    assert (shown["Race"], shown["State"], shown["Seeds"]) == ("abcdefghij", "finished", 2)
    assert (shown["Model"], shown["Data"], shown["Budget"]) == ("glyph_net", "digits", "5 epochs")
    assert shown["Plain accuracy"] == pytest.approx(0.8)
    assert shown["Multirate accuracy"] == pytest.approx(0.7)
    assert shown["Time ratio"] == pytest.approx((20 / 400) / (20 / 200))


def test_what_is_not_known_stays_empty() -> None:
    running = table_row(row())
    assert running["State"] == "running"
    assert [running[name] for name in ("Plain accuracy", "Multirate accuracy", "Time ratio")] == [None] * 3
    no_steps = ended(lane(0, "sgd"), lane(1, "multirate", steps=0, train_seconds=0.0, final_accuracy=None))
    assert (table_row(no_steps)["Multirate accuracy"], table_row(no_steps)["Time ratio"]) == (None, None)
    no_time = ended(lane(0, "sgd", train_seconds=0.0), lane(1, "multirate"))
    assert table_row(no_time)["Time ratio"] is None


def test_an_arm_is_known_by_its_kind_and_not_by_its_name() -> None:
    arms = (ArmConfig("plain", "sgd"), ArmConfig("ours", "multirate", partition()))
    shown = table_row(ended(lane(0, "plain", final_accuracy=0.5), lane(1, "ours"), config=RaceConfig(arms)))
    assert (shown["Plain accuracy"], shown["Multirate accuracy"]) == (0.5, 0.9)


def test_the_predicted_ratio_stands_beside_the_measured_one_with_its_error() -> None:
    lanes = [lane(0, "sgd", train_seconds=8.0), lane(1, "multirate", train_seconds=4.0)]
    shown = table_row(ended(*lanes, environment=forecast()))
    assert list(shown)[-3:] == ["Time ratio", "Predicted ratio", "Error"]
    assert (shown["Time ratio"], shown["Predicted ratio"]) == (0.5, 0.48)
    assert shown["Error"] == pytest.approx(-0.04)


def test_a_prediction_is_known_while_the_race_runs_and_its_error_is_not() -> None:
    shown = table_row(row(environment=forecast()))
    assert (shown["Predicted ratio"], shown["Error"]) == (0.48, None)
    too_short = ended(lane(0, "sgd"), lane(1, "multirate", steps=4), environment=forecast())
    assert (table_row(too_short)["Predicted ratio"], table_row(too_short)["Error"]) == (0.48, None)


@pytest.mark.parametrize("environment", [{}, {"forecast": "{"}, forecast(multirate=math.nan), forecast(multirate=-1)])
def test_without_a_usable_prediction_its_columns_are_empty(environment: dict[str, str]) -> None:
    race = ended(lane(0, "sgd"), lane(1, "multirate"), environment=environment)
    assert (table_row(race)["Predicted ratio"], table_row(race)["Error"]) == (None, None)
    assert [line["predicted_ratio"] for line in parsed(runs_csv([race]))] == ["", ""]


def test_a_race_of_sgd_alone_has_no_multirate_prediction() -> None:
    environment = {"forecast": json.dumps({"sgd": {"step_s": 0.01, "ratio": 1.0, "uncertainty": 0.0}})}
    race = ended(lane(0, "sgd"), environment=environment, config=RaceConfig((ArmConfig("sgd", "sgd"),)))
    assert (table_row(race)["Predicted ratio"], table_row(race)["Error"]) == (None, None)
