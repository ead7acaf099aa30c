"""What the result card says, in plain text: what happened, in three answers, and no winner. No streamlit.

The parts may hold names that a user chose; pages put them through `text.plain` before they show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from multirate_core.answers import MUCH_LOADING, answers_of, loading_share
from multirate_core.config import RaceConfig
from multirate_core.events import Evaluated
from multirate_core.metrics import METRIC_INFO, Metric, metric_title
from multirate_core.store import LaneRow
from multirate_core.verdict import EqualEpochs, EqualSeconds, ThreeAnswers, ToTarget
from pages.components.race.words import setting_text
from pages.components.text import number, percent, score_text

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
    """What happened between the plain arm (SGD, or AdamW where that is the base rule) and another one.

    Args:
        arm: the one that is held against the plain one.
        title: which arms.
        setting: what the numbers belong to: model, data, budget, and the arm's groups.
        caution: how much weight the numbers bear: "one run: no verdict".
        answers: at equal epochs, to reach a target, at equal seconds; () if there is nothing to compare.
        sweep: (target, ratio of training seconds or None) for the small chart.
        notes: lanes that did not finish, and why there are no answers.
        metric: what the answers and targets are about.
    """

    arm: str
    title: str
    setting: str
    caution: str
    answers: tuple[Answer, ...]
    sweep: tuple[tuple[float, float | None], ...]
    notes: tuple[str, ...]
    metric: Metric = "accuracy"


def result_cards(config: RaceConfig, lanes: Sequence[LaneRow], tests: Sequence[Evaluated]) -> tuple[ResultCard, ...]:
    """Return one card for every arm beside the plain one; one in all if the race has no other arm.

    Args:
        config: of the race.
        lanes: of the race.
        tests: all its evaluations.
    """
    by_lane = {lane.lane: [test for test in tests if test.lane == lane.lane] for lane in lanes}
    arms = [arm.name for arm in config.arms if arm.name != REFERENCE] or [REFERENCE]
    plain, metric = config.title(REFERENCE), config.metric
    cards = [
        result_card(arm, setting_text(config, arm), answers_of(lanes, by_lane, arm, metric), lanes, plain, metric)
        for arm in arms
    ]
    return tuple(replace(card, notes=(*card.notes, *_remarks(config, card.arm, lanes))) for card in cards)


def result_card(
    arm: str,
    setting: str,
    answers: ThreeAnswers | None,
    lanes: Sequence[LaneRow],
    plain: str = REFERENCE,
    metric: Metric = "accuracy",
) -> ResultCard:
    """Return the card of one arm.

    Args:
        arm: its name.
        setting: what the numbers belong to.
        answers: against the plain arm; None if the race has no such pair.
        lanes: of the race; those of other arms are passed over.
        plain: what people call the plain arm.
        metric: what the answers are about.
    """
    mine = [lane for lane in lanes if lane.arm in (arm, REFERENCE)]
    notes = tuple(_note(lane, plain) for lane in mine if lane.outcome in OUTCOMES)
    if answers is None or arm == REFERENCE:
        title = plain if arm == REFERENCE else arm
        return ResultCard(arm, title, setting, "nothing to compare", (), (), (_no_pair(arm, plain), *notes))
    if answers.seeds == 0:
        missing = "At no seed did both arms reach their end, so there is no comparison."
        title = f"{arm} and {plain}"
        return ResultCard(arm, title, setting, answers.caution, (), (), (missing, *notes))
    to_target = _to_target(arm, plain, answers.to_target, answers.seeds, metric)
    equal_seconds = _equal_seconds(arm, plain, answers.equal_seconds, metric)
    three = (_equal_epochs(arm, plain, answers.equal_epochs), to_target, equal_seconds)
    sweep = tuple((row.target, row.speedup) for row in answers.to_target)
    return ResultCard(arm, f"{arm} and {plain}", setting, answers.caution, three, sweep, notes, metric)


def _equal_epochs(arm: str, plain: str, answer: EqualEpochs | None) -> Answer:
    question = "How long did the same epochs take?"
    if answer is None:
        return Answer(question, (), "One of the two took no step.")
    figures = ((_seconds(answer.other_seconds), arm), (_seconds(answer.sgd_seconds), plain))
    ratio = f"{plain}'s time is {answer.speedup:.2f} times {arm}'s"
    epochs = f"{number(answer.epochs, 4)} epoch{'s' * (answer.epochs != 1)}"
    return Answer(question, figures, f"Training time for {epochs}: {ratio}.")


def _to_target(arm: str, plain: str, rows: Sequence[ToTarget], seeds: int, metric: Metric) -> Answer:
    question = f"How long to reach a given {metric_title(metric)}?"
    reached = [row for row in rows if row.speedup is not None]
    if not reached:
        everywhere = "" if seeds == 1 else " at every seed"
        return Answer(question, (), f"No target was reached by both {arm} and {plain}{everywhere}.")
    ratios = [row.speedup for row in reached if row.speedup is not None]
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    value = f"{low}×" if low == high else f"{low}× to {high}×"
    figures = ((value, f"{plain}'s speed, by target (below 1×: slower)"), *_to_best(plain, rows[-1], seeds, metric))
    first, last = (score_text(metric, row.target) for row in (reached[0], reached[-1]))
    where = f"from {first} to {last}" if len(reached) > 1 else f"of {first}"
    rest = _missed(arm, [row for row in rows if row.other_seconds is None], seeds, metric)
    rest += _missed(plain, [row for row in rows if row.sgd_seconds is None], seeds, metric)
    return Answer(question, figures, f"{arm}'s speed for targets {where}.{rest}")


def _missed(arm: str, rows: Sequence[ToTarget], seeds: int, metric: Metric) -> str:
    """Return which targets an arm did not reach, as a sentence; "" if it reached all."""
    targets = list(dict.fromkeys(score_text(metric, row.target) for row in rows))
    at_every = "" if seeds == 1 else " at every seed"
    return f" {arm} did not reach{at_every}: {', '.join(targets)}." if targets else ""


def _to_best(plain: str, row: ToTarget, seeds: int, metric: Metric) -> tuple[tuple[str, str], ...]:
    """Return the figure of the highest target, the best of SGD at every seed; () where nobody needed any time."""
    target = score_text(metric, row.target)
    best = f"{plain}'s best, {target}"
    if seeds > 1:
        best = f"what {plain} reached at every seed, {target}"
    if row.other_seconds is None:
        found = f"reached at {row.other_seeds} of {seeds} seeds:" if row.other_seeds else "never reached"
        return ((found, best),)
    return () if row.speedup is None else ((f"{row.speedup:.2f}×", f"to {best}"),)


def _equal_seconds(arm: str, plain: str, answer: EqualSeconds | None, metric: Metric) -> Answer:
    title = metric_title(metric)
    question = "How accurate after the same time?" if metric == "accuracy" else f"Which {title} after the same time?"
    if answer is None:
        return Answer(question, (), "One of the two took no step.")
    figures = ((score_text(metric, answer.other), arm), (score_text(metric, answer.sgd), plain))
    after = f"Test {title} after {_seconds(answer.seconds)} of training each"
    return Answer(question, figures, f"{after}: {_apart(answer.other, answer.sgd, metric)} apart.")


def _apart(one: float, other: float, metric: Metric) -> str:
    """Return the difference of two values, of the figures as they are shown."""
    if METRIC_INFO[metric].is_share:
        return f"{abs(round(one * 100, 1) - round(other * 100, 1)):.1f} points"
    return f"{abs(round(one, 3) - round(other, 3)):.3f}"


def _note(lane: LaneRow, plain: str) -> str:
    # What a stopped lane has to say is what stands here anyway.
    message = f" {lane.message}" if lane.message and lane.outcome != "stopped" else ""
    name = plain if lane.arm == REFERENCE else lane.arm
    return f"{name}, seed {lane.seed}: {OUTCOMES[lane.outcome or '']} after {lane.steps} steps.{message}"


def _remarks(config: RaceConfig, arm: str, lanes: Sequence[LaneRow]) -> list[str]:
    return [*_too_short(config, arm, lanes), *_much_loading(config, arm, lanes)]


def _much_loading(config: RaceConfig, arm: str, lanes: Sequence[LaneRow]) -> list[str]:
    """Say so if an arm waited long for its batches: on a clock on the wall the arms are closer than on the card."""
    shares = {name: loading_share(lanes, name) for name in dict.fromkeys((arm, REFERENCE))}
    much = [f"{percent(share)} ({config.title(name)})" for name, share in shares.items() if share > MUCH_LOADING]
    if not much:
        return []
    return [
        f"Loading batches took {' and '.join(much)} of the time for loading and training. It is no part of the "
        "training seconds above, and equal batches are loaded for all arms: with it, ratios of times are nearer to 1."
    ]


def _too_short(config: RaceConfig, name: str, lanes: Sequence[LaneRow]) -> list[str]:
    """Say so if a multirate arm never came round its cycle, or never to its own k: its times then say little."""
    mine = [lane for lane in lanes if lane.arm == name]
    partitions = [arm.partition for arm in config.arms if arm.name == name and arm.kind == "multirate"]
    groups = [group for partition in partitions if partition for group in partition.groups]
    longest = max((group.period for group in groups), default=0)
    steps, epochs = max((lane.steps for lane in mine), default=0), max((lane.epochs for lane in mine), default=0.0)
    if not mine or not groups:
        return []
    if steps < longest:
        return [f"{name} took {steps} steps, fewer than its longest period of {longest}: its times say little."]
    waiting = [group for group in groups if group.phases and sum(length for length, _ in group.phases) >= epochs]
    return [f"{name} ended before the schedule for {group.name} came to k = {group.period}." for group in waiting]


def _no_pair(arm: str, plain: str) -> str:
    if arm == REFERENCE:
        return f"The race had no arm beside {plain}, so there is nothing to compare it with."
    return f"The race had no arm named {plain}, so there is nothing to compare {arm} with."


def _seconds(value: float) -> str:
    return f"{number(value)}\N{NO-BREAK SPACE}s"
