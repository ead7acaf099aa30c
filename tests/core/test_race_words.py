"""What the pages say about a race: its state in words, the difference of two, table rows and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plot_races import config, partition

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
from multirate_core.config_json import from_json
from multirate_core.events import OUTCOMES, Evaluated
from multirate_core.store import LaneRow, RaceRow
from multirate_core.store.rows import State
from pages.components.race.words import (
    CURVE_COLUMNS,
    arms_text,
    budget_text,
    curves_csv,
    difference,
    fast_text,
    recipe_text,
    runs_csv,
    setting_text,
    state_line,
    table_row,
)

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")')


def row(**changes: Any) -> RaceRow:
    """A race that runs, unless told otherwise."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(RaceRow))
    values |= {"id": "abcdefghij", "created_at": 1_000_000.0, "config": config(), "state": "running", "device": "cpu"}
    values |= {"candidates": ("cpu",), "message": "", "traceback": "", "phase": "", "fraction": 0.5, "environment": {}}
    return RaceRow(**{**values, **changes})


def lane(number: int, arm: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A lane as the summary of an ended race holds it."""
    done = {"steps": 100, "epochs": 2.0, "train_seconds": 8.0, "outcome": "finished", "message": "", "evaluations": 3}
    tested = {"final_accuracy": 0.9, "final_loss": 0.3, "best_accuracy": 0.91}
    return {"lane": number, "seed": seed, "arm": arm, **done, **tested, **changes}


def ended(*lanes: dict[str, Any], outcome: str = "finished", **changes: Any) -> RaceRow:
    return row(state="ended", outcome=outcome, summary={"lanes": list(lanes)}, **changes)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


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


def forecast(sgd: float = 1.0, multirate: float = 0.48) -> dict[str, str]:
    """The environment of a race with a prediction."""
    ratios = {"sgd": sgd, "multirate": multirate}
    text = {arm: {"step_s": 0.01 * ratio, "ratio": ratio, "uncertainty": 0.02} for arm, ratio in ratios.items()}
    return {"forecast": json.dumps(text)}


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


# CSV


def test_every_lane_has_the_predicted_ratio_of_its_arm() -> None:
    race = ended(lane(0, "sgd"), lane(1, "multirate"), environment=forecast())
    assert [line["predicted_ratio"] for line in parsed(runs_csv([race, row()]))] == ["1.0", "0.48", ""]


def test_a_race_is_one_line_per_lane_with_its_whole_configuration() -> None:
    one = ended(lane(0, "sgd"), lane(1, "multirate", final_accuracy=None, outcome="diverged"))
    first, second = parsed(runs_csv([one]))
    assert (first["race"], first["arm"], first["final_accuracy"]) == ("abcdefghij", "sgd", "0.9")
    assert (second["final_accuracy"], second["outcome"]) == ("", "diverged")
    assert from_json(first["config"]) == one.config


def test_a_race_that_has_not_ended_is_one_line_without_results() -> None:
    lines = parsed(runs_csv([row(), ended(lane(0, "sgd"))]))
    assert [(line["race_outcome"], line["arm"]) for line in lines] == [("", ""), ("finished", "sgd")]


def test_the_curves_are_one_line_per_evaluation() -> None:
    lanes = [LaneRow(0, 3, "sgd", None, "", 50, 1.0, 4.0, {}), LaneRow(1, 3, "multirate", None, "", 50, 1.0, 2.0, {})]
    tests = [Evaluated(0, 0, 0.0, 0.0, 0.1, 2.3, "start"), Evaluated(1, 50, 1.0, 2.0, 0.7, math.nan, "epoch")]
    first, second = parsed(curves_csv(row(), lanes, tests))
    assert tuple(first) == CURVE_COLUMNS
    assert (first["arm"], first["accuracy"], first["reason"]) == ("sgd", "0.1", "start")
    assert (second["seed"], second["step"], second["loss"]) == ("3", "50", "nan")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula_for_a_spreadsheet(text: str) -> None:
    named = LaneRow(0, 0, text, None, "", 1, 1.0, 1.0, {})
    (line,) = parsed(curves_csv(row(), [named], [Evaluated(0, 1, 1.0, 1.0, 0.5, 0.5, "end")]))
    assert line["arm"] == f"'{text}"
    data = dataclasses.replace(config(), data=DataConfig(text))
    (line,) = parsed(runs_csv([ended(lane(0, text, message=text), config=data)]))
    assert (line["arm"], line["message"], line["data"]) == (f"'{text}",) * 3
    assert json.loads(line["config"])["data"]["name"] == text


def test_negative_numbers_stay_numbers() -> None:
    (line,) = parsed(runs_csv([ended(lane(0, "sgd", final_loss=-1.5))]))
    assert line["final_loss"] == "-1.5"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_name_and_message_can_be_read_back(text: str) -> None:
    arm = LaneRow(0, 0, text, None, "", 1, 1.0, 1.0, {})
    (line,) = parsed(curves_csv(row(), [arm], [Evaluated(0, 1, 1.0, 1.0, 0.5, 0.5, "end")]))
    assert line["arm"] in (text, f"'{text}")
    assert len(line) == len(CURVE_COLUMNS)
    (line,) = parsed(runs_csv([ended(lane(0, "sgd", message=text))]))
    assert line["message"] in (text, f"'{text}")
