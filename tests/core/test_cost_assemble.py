"""From what a measurement found to a calibration: its predictions of the whole steps are what these took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from calibrate_cases import request, shorten

from multirate_core.config import Recipe
from multirate_core.cost import calibrate, measure
from multirate_core.cost.assemble import Rounds, assemble
from multirate_core.cost.fit import operation_costs
from multirate_core.cost.operations import BackwardCosts
from multirate_core.cost.predict import pass_s

OFFSET_S, PASSING, WEIGHTS = 0.002, 1.2, 0.9  # of made-up steps


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a short measurement in two passes a step hands over: subject, parts, rounds, updates, few, far."""
    given: list[Any] = []

    def keep(*arguments: Any) -> Any:
        given.extend(arguments)
        return assemble(*arguments)

    shorten(monkeypatch)
    monkeypatch.setattr(measure, "assemble", keep)
    calibrate.calibrate(request(recipe=Recipe(batch_size=16, accumulate=2)))
    return given


def test_the_three_whole_steps_come_out_as_they_were_measured(found: list[Any]) -> None:
    subject, parts, _, updates, few, far = found
    names = list(subject.trainable)
    costs, bare_s = BackwardCosts(operation_costs(parts, names)), sum(parts.bare_s.values())
    assert subject.passes == 2 and set(few) < set(far) < set(names)

    def whole_s(due: Sequence[str]) -> float:
        passing_s, weights_s = costs.split([names.index(name) for name in due])
        return OFFSET_S + 2 * (PASSING * (bare_s + passing_s) + WEIGHTS * weights_s)

    numbers = {name: weight.numel() for name, weight in subject.trainable.items()}

    def update_s(due: Sequence[str]) -> float:
        return float(updates.multirate_s([numbers[n] for n in due], [numbers[n] for n in names if n not in due]))

    sgd_s = whole_s(names) + updates.plain_s(list(numbers.values()))
    few_s, far_s = (whole_s(due) + update_s(due) for due in (few, far))
    made = assemble(subject, parts, Rounds(sgd=[sgd_s], few=[few_s], far=[far_s]), updates, few, far)

    assert made.sgd_step_s == sgd_s
    for due in (names, few, far):
        assert pass_s(made, due) == pytest.approx(whole_s(due))


def test_of_two_steps_with_few_gradients_the_second_one_counts(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    taken: list[float] = []
    few_s = measure._Steps.few_s

    def watched(steps: measure._Steps) -> float:
        taken.append(few_s(steps))
        return taken[-1]

    monkeypatch.setattr(measure._Steps, "few_s", watched)
    _, _, rounds, *_ = request.getfixturevalue("found")
    assert rounds.few == taken[4::3] and rounds.far == taken[5::3]  # the first round of three is a warm-up


def test_the_share_that_is_over_counts_rounds_where_these_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    monkeypatch.setattr(measure, "ROUNDS_S", 1e9)
    said: list[tuple[str, float]] = []
    calibrate.calibrate(request(), lambda text, share: said.append((text, share)))
    shares = {text: share for text, share in said if text.startswith("measuring, round")}
    assert shares == {f"measuring, round {n + 1}": pytest.approx(0.05 + 0.7 * n / 4) for n in range(4)}
