"""What the benchmark of gradient bytes makes of counted messages."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.ddp_bytes import _figures, _same_on_all_ranks, formula


def counted(fast_step: int = 10) -> dict[str, Any]:
    """A network of 90 slow and 10 fast bytes; DDP sends 100 a step."""
    cycle = {"bytes": [100, fast_step, fast_step, fast_step, fast_step], "seconds": [2.0, 1.0, 1.0, 1.0, 1.0]}
    each = {"fast_bytes": 10, "slow_bytes": 90, "cycle": {"5": cycle}}
    return {"ddp": {"bytes": [100, 100], "seconds": [2.0, 2.0, 9.0]}, "cycles": {"head": each}}


def test_the_formula_is_one_without_a_saving_and_the_fast_share_in_the_limit() -> None:
    assert formula(90, 10, 1) == 1.0
    assert formula(90, 10, 5) == pytest.approx(0.28)
    assert formula(90, 10, 10**9) == pytest.approx(0.1)


def test_share_and_distance_come_from_what_was_counted() -> None:
    share, off, time = _figures("Net", counted())
    assert share.name == "net_head_k5_share"
    assert (share.value, off.value, time.value) == pytest.approx((0.28, 0.0, 0.6))
    assert off.as_dict()["met"]
    share, off, _ = _figures("Net", counted(fast_step=11))
    assert share.value == pytest.approx(0.288)
    assert off.value == pytest.approx(100 * 0.8 / 28)
    assert not off.as_dict()["met"]


def test_a_fast_step_that_sends_more_and_ranks_that_differ_are_told() -> None:
    assert _same_on_all_ranks({"net": [counted(), counted()]}).met
    assert not _same_on_all_ranks({"net": [counted(11), counted(11)]}).met
    assert not _same_on_all_ranks({"net": [counted(), counted(11)]}).met
