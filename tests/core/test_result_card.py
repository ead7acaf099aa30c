"""The result card says what happened, names who did not finish, and claims nothing from one run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plot_races import config, partition

from multirate_core.config import ArmConfig, RaceConfig, Recipe
from multirate_core.events import Evaluated
from multirate_core.store import LaneRow
from pages.components.race.card import ResultCard, result_cards

# (training seconds, accuracy) after epochs 0, 1, 2: multirate takes half of SGD's time for an epoch.
SGD = ((0.0, 0.1), (4.0, 0.7), (8.0, 0.9))
MULTIRATE = ((0.0, 0.1), (2.0, 0.6), (4.0, 0.88))


def lane(number: int, arm: str, outcome: str = "finished", seed: int = 0, message: str = "") -> LaneRow:
    return LaneRow(number, seed, arm, outcome, message, 100, 2.0, 8.0, {})


def evaluations_of(number: int, points: tuple[tuple[float, float], ...]) -> list[Evaluated]:
    return [Evaluated(number, 50 * e, float(e), s, accuracy, 0.5, "epoch") for e, (s, accuracy) in enumerate(points)]


def card(*lanes: LaneRow, race: RaceConfig | None = None) -> ResultCard:
    tests = [test for row in lanes for test in evaluations_of(row.lane, SGD if row.arm == "sgd" else MULTIRATE)]
    (only,) = result_cards(race or config(), lanes, tests)
    return only


def test_one_run_is_told_as_what_happened_and_not_as_a_verdict() -> None:
    shown = card(lane(0, "sgd"), lane(1, "multirate"))
    assert shown.caution == "one run: no verdict"
    text = " ".join(str(answer.figures) + answer.detail for answer in shown.answers).lower()
    assert not any(word in text for word in ("winner", "wins", "better", "faster", "beats"))
    assert shown.notes == ()


def test_the_three_answers_hold_the_numbers_of_the_curves() -> None:
    epochs, target, seconds = card(lane(0, "sgd"), lane(1, "multirate")).answers
    assert epochs.figures == (("4\N{NO-BREAK SPACE}s", "multirate"), ("8\N{NO-BREAK SPACE}s", "sgd"))
    assert "2 epochs: sgd's time is 2.00 times multirate's" in epochs.detail
    assert seconds.figures == (("88.0\N{NO-BREAK SPACE}%", "multirate"), ("70.0\N{NO-BREAK SPACE}%", "sgd"))
    assert "18.0 points apart" in seconds.detail
    assert target.figures[0] == ("1.54× to 1.87×", "sgd's speed, by target (below 1×: slower)")
    assert target.figures[1] == ("never reached", "sgd's best, 90.0\N{NO-BREAK SPACE}%")
    assert "multirate did not reach: 88.4 %, 90.0 %." in target.detail.replace("\N{NO-BREAK SPACE}", " ")


def test_much_loading_is_said_with_its_share_of_each_arm() -> None:
    plain = replace(lane(0, "sgd"), clock={"training": 9.5, "loading": 0.5, "evaluation": 50.0})
    quick = replace(lane(1, "multirate"), clock={"training": 4.0, "loading": 1.0})
    (note,) = card(plain, quick).notes
    assert note.startswith("Loading batches took 20.0\N{NO-BREAK SPACE}% (multirate) of the time")
    (note,) = card(replace(plain, clock={"training": 8.0, "loading": 2.0}), quick).notes
    assert "(multirate) and 20.0\N{NO-BREAK SPACE}% (sgd) of the time" in note
    assert card(plain, replace(quick, clock={"training": 9.0, "loading": 1.0})).notes == ()
    several = replace(lane(2, "multirate", seed=1), clock={"training": 100.0, "loading": 0.0})
    assert card(plain, quick, several).notes == ()  # of all seeds together


def test_a_card_says_what_its_numbers_belong_to() -> None:
    shown = card(lane(0, "sgd"), lane(1, "multirate"))
    assert shown.setting == "Glyph net on Handwritten digits, 5 epochs; fast: fc; slow every 5 steps"


def test_with_the_base_adamw_no_word_says_sgd() -> None:
    race = replace(config(), recipe=Recipe(base="adamw"))
    shown = card(lane(0, "sgd", "diverged"), lane(1, "multirate"), race=race)
    whole = card(lane(0, "sgd"), lane(1, "multirate"), race=race)
    (alone,) = result_cards(replace(race, arms=race.arms[:1]), [lane(0, "sgd")], [])
    assert (whole.title, alone.title) == ("multirate and adamw", "adamw")
    assert "adamw" in shown.notes[-1] and "adamw" in alone.notes[0]
    for each in (shown, whole, alone):
        assert "sgd" not in repr((each.title, each.setting, each.answers, each.notes)).lower()


def test_an_arm_that_ended_before_its_schedule_came_to_its_own_k_is_told() -> None:
    def with_phases(*phases: tuple[float, int]) -> RaceConfig:
        spec = partition(5)
        groups = (spec.groups[0], replace(spec.groups[1], phases=phases))
        arms = (config().arms[0], ArmConfig("multirate", "multirate", replace(spec, groups=groups)))
        return replace(config(), arms=arms)

    lanes = [lane(0, "sgd"), lane(1, "multirate")]  # of two epochs
    assert card(*lanes, race=with_phases((1, 1), (1, 2))).notes == (
        "multirate ended before the schedule for slow came to k = 5.",
    )
    assert card(*lanes, race=with_phases((1, 1), (0.9, 2))).notes == ()


def test_an_arm_that_was_slower_to_the_best_accuracy_says_so_by_itself() -> None:
    late = ((0.0, 0.1), (2.0, 0.6), (10.0, 0.95))
    race, lanes = config(), [lane(0, "sgd"), lane(1, "multirate")]
    (shown,) = result_cards(race, lanes, [*evaluations_of(0, SGD), *evaluations_of(1, late)])
    span, best = shown.answers[1].figures
    assert span[0] == "0.90× to 1.67×"
    assert best == ("0.90×", "to sgd's best, 90.0\N{NO-BREAK SPACE}%")


def test_long_times_are_written_in_full() -> None:
    slow = [tuple((308.6419 * s, accuracy) for s, accuracy in points) for points in (SGD, MULTIRATE)]
    (shown,) = result_cards(
        config(), [lane(0, "sgd"), lane(1, "multirate")], [*evaluations_of(0, slow[0]), *evaluations_of(1, slow[1])]
    )
    epochs, _, seconds = shown.answers
    assert [value for value, _ in epochs.figures] == ["1,235\N{NO-BREAK SPACE}s", "2,469\N{NO-BREAK SPACE}s"]
    assert "after 1,235\N{NO-BREAK SPACE}s of training each" in seconds.detail


def test_the_sweep_for_the_chart_marks_what_was_not_reached() -> None:
    sweep = card(lane(0, "sgd"), lane(1, "multirate")).sweep
    assert sweep[-1] == (0.9, None)
    assert all(speedup is None or speedup > 1 for _, speedup in sweep)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("diverged", "diverged"), ("lost", "was lost"), ("out_of_memory", "ran out of memory"), ("failed", "failed")],
)
def test_an_arm_that_did_not_finish_is_named_and_not_compared(outcome: str, words: str) -> None:
    shown = card(lane(0, "sgd"), lane(1, "multirate", outcome, message="The loss was inf at step 100."))
    assert shown.answers == ()
    (note,) = [note for note in shown.notes if note.startswith("multirate, seed 0")]
    assert words in note
    assert "after 100 steps" in note
    assert "The loss was inf at step 100." in note


def test_a_stopped_race_is_compared_and_says_so() -> None:
    shown = card(lane(0, "sgd", "stopped"), lane(1, "multirate", "stopped"))
    assert len(shown.answers) == 3
    assert sum("was stopped" in note for note in shown.notes) == 2
    told = card(lane(0, "sgd", "stopped", message="stopped on request after 100 steps"), lane(1, "multirate"))
    assert told.notes == ("sgd, seed 0: was stopped after 100 steps.",)


def test_several_seeds_are_means() -> None:
    lanes = [
        lane(2 * seed + place, arm, seed=seed) for seed in (0, 1) for place, arm in enumerate(("sgd", "multirate"))
    ]
    assert card(*lanes, race=config(seeds=(0, 1))).caution == "means over 2 seeds"


def test_a_target_that_was_reached_at_one_seed_of_two_says_so_and_is_no_never() -> None:
    lanes = [
        lane(2 * seed + place, arm, seed=seed) for seed in (0, 1) for place, arm in enumerate(("sgd", "multirate"))
    ]
    good = (*MULTIRATE[:2], (4.0, 0.95))
    curves = (SGD, MULTIRATE, SGD, good)
    tests = [test for row in lanes for test in evaluations_of(row.lane, curves[row.lane])]
    (shown,) = result_cards(config(seeds=(0, 1)), lanes, tests)
    target = shown.answers[1]
    percent = "90.0\N{NO-BREAK SPACE}%"
    assert target.figures[1] == ("reached at 1 of 2 seeds:", f"what sgd reached at every seed, {percent}")
    assert target.detail.endswith(f"multirate did not reach at every seed: 88.4\N{NO-BREAK SPACE}%, {percent}.")


def test_a_race_of_fewer_steps_than_k_says_that_its_times_mean_little() -> None:
    shown = card(lane(0, "sgd"), lane(1, "multirate"), race=config(period=101))
    (note,) = shown.notes
    assert "100 steps, fewer than its longest period of 101" in note
    assert card(lane(0, "sgd"), lane(1, "multirate"), race=config(period=100)).notes == ()


def test_every_arm_beside_sgd_has_a_card_and_keeps_its_name_as_it_is() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    arms = (*config().arms, replace(config().arms[1], name=hostile))
    lanes = [lane(number, arm.name) for number, arm in enumerate(arms)]
    tests = [test for row in lanes for test in evaluations_of(row.lane, SGD)]
    cards = result_cards(replace(config(), arms=arms), lanes, tests)
    assert [shown.title for shown in cards] == ["multirate and sgd", f"{hostile} and sgd"]


def test_without_a_partner_there_is_a_reason_instead_of_numbers() -> None:
    alone = RaceConfig(arms=(ArmConfig("sgd", "sgd"),))
    shown = card(lane(0, "sgd"), race=alone)
    assert shown.answers == ()
    assert "no arm beside sgd" in shown.notes[0]
    other = RaceConfig(arms=(replace(config().arms[1], name="ours"),))
    assert "no arm named sgd" in card(lane(0, "ours"), race=other).notes[0]
