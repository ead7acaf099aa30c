"""What the result card says, in plain text: what happened, in three answers, and no winner. No streamlit.

The parts may hold names that a user chose; pages put them through `text.plain` before they show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from multirate_core.answers import answers_of
from multirate_core.config import RaceConfig
from multirate_core.events import Evaluated
from multirate_core.store import LaneRow
from multirate_core.verdict import EqualEpochs, EqualSeconds, ThreeAnswers, ToTarget
from pages.components.race.words import setting_text
from pages.components.text import number, percent

REFERENCE = "sgd"
OUTCOMES = {
    "stopped": "was stopped",
    "diverged": "diverged: its loss was no number any more",
    "out_of_memory": "ran out of memory",
    "failed": "failed",
    "lost": "was lost with its worker",
}


@dataclass(frozen=True)
class Answer:
    """One of the three: the question it answers, figures as (value, what it is), and a sentence about them."""

    question: str
    figures: tuple[tuple[str, str], ...]
    detail: str


@dataclass(frozen=True)
class ResultCard:
    """What happened between SGD and another arm.

    Args:
        arm: the one that is held against SGD.
        title: which arms.
        setting: what the numbers belong to: model, data, budget, and the arm's groups.
        caution: how much weight the numbers bear: "one run: no verdict".
        answers: at equal epochs, to reach a target, at equal seconds; () if there is nothing to compare.
        sweep: (target accuracy, ratio of training seconds or None) for the small chart.
        notes: lanes that did not finish, and why there are no answers.
    """

    arm: str
    title: str
    setting: str
    caution: str
    answers: tuple[Answer, ...]
    sweep: tuple[tuple[float, float | None], ...]
    notes: tuple[str, ...]


def result_cards(config: RaceConfig, lanes: Sequence[LaneRow], tests: Sequence[Evaluated]) -> tuple[ResultCard, ...]:
    """Return one card for every arm beside plain SGD; one in all if the race has no other arm.

    Args:
        config: of the race.
        lanes: of the race.
        tests: all its evaluations.
    """
    by_lane = {lane.lane: [test for test in tests if test.lane == lane.lane] for lane in lanes}
    arms = [arm.name for arm in config.arms if arm.name != REFERENCE] or [REFERENCE]
    cards = [result_card(arm, setting_text(config, arm), answers_of(lanes, by_lane, arm), lanes) for arm in arms]
    return tuple(replace(card, notes=(*card.notes, *_too_short(config, card.arm, lanes))) for card in cards)


def result_card(arm: str, setting: str, answers: ThreeAnswers | None, lanes: Sequence[LaneRow]) -> ResultCard:
    """Return the card of one arm.

    Args:
        arm: its name.
        setting: what the numbers belong to.
        answers: against SGD; None if the race has no such pair.
        lanes: of the race; those of other arms are passed over.
    """
    mine = [lane for lane in lanes if lane.arm in (arm, REFERENCE)]
    notes = tuple(_note(lane) for lane in mine if lane.outcome in OUTCOMES)
    if answers is None or arm == REFERENCE:
        return ResultCard(arm, arm, setting, "nothing to compare", (), (), (_no_pair(arm), *notes))
    if answers.seeds == 0:
        missing = "At no seed did both arms reach their end, so there is no comparison."
        title = f"{arm} and {REFERENCE}"
        return ResultCard(arm, title, setting, answers.caution, (), (), (missing, *notes))
    found = (_equal_epochs(arm, answers.equal_epochs), _to_target(arm, answers.to_target, answers.seeds))
    three = (*found, _equal_seconds(arm, answers.equal_seconds))
    sweep = tuple((row.target, row.speedup) for row in answers.to_target)
    return ResultCard(arm, f"{arm} and {REFERENCE}", setting, answers.caution, three, sweep, notes)


def _equal_epochs(arm: str, answer: EqualEpochs | None) -> Answer:
    question = "How long did the same epochs take?"
    if answer is None:
        return Answer(question, (), "One of the two took no step.")
    figures = ((_seconds(answer.other_seconds), arm), (_seconds(answer.sgd_seconds), REFERENCE))
    ratio = f"{REFERENCE}'s time is {answer.speedup:.2f} times {arm}'s"
    epochs = f"{number(answer.epochs, 4)} epoch{'s' * (answer.epochs != 1)}"
    return Answer(question, figures, f"Training time for {epochs}: {ratio}.")


def _to_target(arm: str, rows: Sequence[ToTarget], seeds: int) -> Answer:
    question = "How long to reach a given accuracy?"
    reached = [row for row in rows if row.speedup is not None]
    if not reached:
        everywhere = "" if seeds == 1 else " at every seed"
        return Answer(question, (), f"No target was reached by both {arm} and {REFERENCE}{everywhere}.")
    ratios = [row.speedup for row in reached if row.speedup is not None]
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    value = f"{low}×" if low == high else f"{low}× to {high}×"
    figures = ((value, f"{REFERENCE}'s speed, by target (below 1×: slower)"), *_to_best(rows[-1], seeds))
    span = f"from {percent(reached[0].target)} to {percent(reached[-1].target)}"
    where = span if len(reached) > 1 else f"of {percent(reached[0].target)}"
    missed = list(dict.fromkeys(percent(row.target) for row in rows if row.speedup is None))
    by_both = "by both" if seeds == 1 else "by both at every seed"
    rest = f" Not reached {by_both}: {', '.join(missed)}." if missed else ""
    return Answer(question, figures, f"{arm}'s speed for targets {where}.{rest}")


def _to_best(row: ToTarget, seeds: int) -> tuple[tuple[str, str], ...]:
    """Return the figure of the highest target, the best of SGD at every seed; () where nobody needed any time."""
    best = f"{REFERENCE}'s best, {percent(row.target)}"
    if seeds > 1:
        best = f"what {REFERENCE} reached at every seed, {percent(row.target)}"
    if row.other_seconds is None:
        found = f"reached at {row.other_seeds} of {seeds} seeds:" if row.other_seeds else "never reached"
        return ((found, best),)
    return () if row.speedup is None else ((f"{row.speedup:.2f}×", f"to {best}"),)


def _equal_seconds(arm: str, answer: EqualSeconds | None) -> Answer:
    question = "How accurate after the same time?"
    if answer is None:
        return Answer(question, (), "One of the two took no step.")
    figures = ((percent(answer.other), arm), (percent(answer.sgd), REFERENCE))
    points = abs(round(answer.other * 100, 1) - round(answer.sgd * 100, 1))  # of the figures as they are shown
    after = f"Test accuracy after {_seconds(answer.seconds)} of training each"
    return Answer(question, figures, f"{after}: {points:.1f} points apart.")


def _note(lane: LaneRow) -> str:
    # What a stopped lane has to say is what stands here anyway.
    message = f" {lane.message}" if lane.message and lane.outcome != "stopped" else ""
    return f"{lane.arm}, seed {lane.seed}: {OUTCOMES[lane.outcome or '']} after {lane.steps} steps.{message}"


def _too_short(config: RaceConfig, name: str, lanes: Sequence[LaneRow]) -> list[str]:
    """Say so if a multirate arm never came round its cycle: its times are then hardly those of multirate."""
    steps = [lane.steps for lane in lanes if lane.arm == name]
    arms = [arm for arm in config.arms if arm.name == name and arm.kind == "multirate" and arm.partition]
    longest = max((group.period for arm in arms if arm.partition for group in arm.partition.groups), default=0)
    if not steps or max(steps) >= longest:
        return []
    return [f"{name} took {max(steps)} steps, fewer than its longest period of {longest}: its times say little."]


def _no_pair(arm: str) -> str:
    if arm == REFERENCE:
        return f"The race had no arm beside {REFERENCE}, so there is nothing to compare it with."
    return f"The race had no arm named {REFERENCE}, so there is nothing to compare {arm} with."


def _seconds(value: float) -> str:
    return f"{number(value)}\N{NO-BREAK SPACE}s"
