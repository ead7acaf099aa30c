"""Data-parallel training with two and three real ranks over gloo, against one process on the joined batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import data_parallel_cases as cases
import pytest
import torch
from ranks import ROOT, rank_environment, run_ranks

pytestmark = pytest.mark.slow

TOLERANCE = 1e-12  # float64: sums in another order
LAST = "ranks_drift_apart"
AGAINST_ONE_PROCESS = [
    "drift",
    "no_drift",
    "no_momentum",
    "three_groups",
    "a_bucket_for_each_tensor",
    "adamw",
    "accumulation",
    "accumulation_that_step_ends",
    "branches",
    "clipping",
    "tied_weights_and_closure",
    "checkpointing",
    "reentrant_checkpointing",
    "logging_between_steps",
    "a_group_is_added",
    "frozen_later",
]
OF_THREE_RANKS = ["drift", "a_bucket_for_each_tensor", "branches", LAST]

Found = list[dict[str, Any]]  # of one case, by rank


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    names = [*(name for name in cases.CASES if name != LAST), LAST]
    return run_ranks(Path(cases.__file__), names, tmp_path_factory.mktemp("two"), 2, timeout_s=90)


@pytest.fixture(scope="module")
def three_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run_ranks(Path(cases.__file__), OF_THREE_RANKS, tmp_path_factory.mktemp("three"), 3, timeout_s=90)


def of_case(ranks: list[dict[str, Any]], name: str) -> Found:
    return [rank[name] for rank in ranks]


def assert_identical_ranks(found: Found) -> None:
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0]["weights"], other["weights"], strict=True))


@pytest.mark.parametrize("name", AGAINST_ONE_PROCESS)
def test_all_ranks_are_identical_and_equal_one_process_on_the_joined_batch(
    two_ranks: list[dict[str, Any]], name: str
) -> None:
    found = of_case(two_ranks, name)
    assert_identical_ranks(found)
    assert max(each["error"] for each in found) < TOLERANCE


@pytest.mark.parametrize("name", OF_THREE_RANKS[:-1])
def test_three_ranks_do_the_same(three_ranks: list[dict[str, Any]], name: str) -> None:
    found = of_case(three_ranks, name)
    assert_identical_ranks(found)
    assert max(each["error"] for each in found) < TOLERANCE


def test_a_parameter_has_a_gradient_on_all_ranks_or_on_none(two_ranks: list[dict[str, Any]]) -> None:
    """Body, first branch, second branch, third branch, head; weight and bias of each."""
    first, second = of_case(two_ranks, "branches")
    assert first["gradients"] == second["gradients"]
    assert first["gradients"][0] == [True] * 6 + [False] * 2 + [True] * 2  # each rank took a branch of its own
    assert first["gradients"][1] == [False] * 8 + [True] * 2  # a fast step
    assert first["unused"]
    assert second["unused"]


def test_clipping_sees_the_averaged_gradients(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "clipping"):
        assert found["norms"][::2] == pytest.approx(found["norms"][1::2], rel=TOLERANCE)


def test_all_gradients_are_averaged_where_they_are_asked_for(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "logging_between_steps"):
        assert found["norms"][::2] == pytest.approx(found["norms"][1::2], rel=TOLERANCE)


def test_an_overflow_on_one_rank_skips_the_step_on_all_and_what_was_due_stays_due(
    two_ranks: list[dict[str, Any]],
) -> None:
    found = of_case(two_ranks, "overflow_on_one_rank")
    assert_identical_ranks(found)
    full, fast = ("part 0", "part 1"), ("part 0",)
    for each in found:
        assert [due for due, _, _ in each["seen"]] == [full, fast, full, full, fast, full]
        assert [moved for _, moved, _ in each["seen"]] == [True, True, False, True, True, True]
        assert [scale for _, _, scale in each["seen"]] == [1024.0] * 2 + [512.0] * 4


def test_a_fast_step_sends_the_fast_part_only(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "bytes_on_the_wire"):
        k, fast, slow = found["k"], found["fast"], found["slow"]
        steps = found["steps"]
        assert all(fast <= size < 1.01 * fast for i, size in enumerate(steps) if i % k)
        assert all(fast + slow <= size < 1.01 * (fast + slow) for size in steps[::k])


def test_a_cycle_sends_the_formulas_share_of_ddps_bytes(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "bytes_on_the_wire"):
        k, fast, slow = found["k"], found["fast"], found["slow"]
        assert found["ddp"] == len(found["steps"]) * (fast + slow)
        formula = (slow + k * fast) / (k * (slow + fast))
        assert sum(found["steps"]) / found["ddp"] == pytest.approx(formula, rel=0.01)


def test_a_frozen_part_is_not_sent(two_ranks: list[dict[str, Any]]) -> None:
    """Frozen from the third step on, thawed at the seventh; the slow part is due at every third."""
    for found in of_case(two_ranks, "frozen_later"):
        sizes = found["sizes"]
        assert sizes[3] < sizes[0] == sizes[9]


def test_a_bucket_is_sent_before_backward_ends(two_ranks: list[dict[str, Any]]) -> None:
    """One message for the agreement, then one each for the head's and the second layer's weight and bias, if at all."""
    for found in of_case(two_ranks, "sent_while_backward_goes_on"):
        assert found["before the first layer"] >= 3
        assert found["in all"] == 7


def test_batch_norm_statistics_stay_the_ranks_own_until_they_are_averaged(two_ranks: list[dict[str, Any]]) -> None:
    found = of_case(two_ranks, "batch_norm")
    assert_identical_ranks(found)
    for name in ("1.running_mean", "1.running_var"):
        own = torch.stack([each["own"][name] for each in found])
        assert not torch.equal(own[0], own[1])
        for each in found:
            torch.testing.assert_close(each["averaged"][name], own.mean(0), rtol=TOLERANCE, atol=0.0)
    assert [each["averaged"]["1.num_batches_tracked"].item() for each in found] == [5, 5]


def test_gradients_keep_memory_format_and_type(two_ranks: list[dict[str, Any]]) -> None:
    found = of_case(two_ranks, "memory_formats_and_types")
    for each in found:
        assert each["strides"] == [True] * 4
        assert [gradient.dtype for gradient in each["gradients"]] == [torch.float32] * 2 + [torch.bfloat16] * 2
        convolution, _, linear, _ = each["gradients"]
        assert (convolution == 27.0).all()  # 2 images × 3 × 3 places × (1 + 2) / 2
        assert (linear == 1.5).all()


def test_a_group_that_was_added_must_be_broadcast(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "a_group_is_added"):
        assert "8 parameters, 6 when they were last broadcast. Call broadcast() on every rank" in found["refused"]


def test_a_second_gradient_on_top_of_one_on_its_way_is_refused(two_ranks: list[dict[str, Any]]) -> None:
    found = of_case(two_ranks, "gradients_are_not_cleared")
    assert all("got a second gradient while the first one was on its way" in each["refused"] for each in found)
    assert_identical_ranks(found)


def test_after_remove_every_rank_trains_for_itself(two_ranks: list[dict[str, Any]]) -> None:
    first, second = of_case(two_ranks, "no_hook_is_left")
    assert first["sent"] == second["sent"] == 0
    assert not torch.equal(first["own"][0], second["own"][0])


def test_ranks_with_other_shapes_are_told_apart_at_once(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "other_shapes"):
        assert "rank 0 has 4.weight of shape (3, 8)" in found["refused"]
        assert "rank 1 has 4.weight of shape (3, 9)" in found["refused"]


def test_a_rank_resumed_elsewhere_in_the_cycle_is_refused(two_ranks: list[dict[str, Any]]) -> None:
    for found in of_case(two_ranks, "other_place_in_the_cycle"):
        assert "period 3, 1 steps after its last gradient" in found["refused"]
        assert "period 3, 2 steps after its last gradient" in found["refused"]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_that_drift_apart_stop_with_an_error_and_do_not_hang(
    world_size: int, request: pytest.FixtureRequest
) -> None:
    found = of_case(request.getfixturevalue({2: "two_ranks", 3: "three_ranks"}[world_size]), LAST)
    for each in found:
        assert each["steps"] == 2  # the error comes at the step that is full on one rank only
        assert "rank 0: due part 0, 2 tensors trained" in each["refused"]
        assert f"rank {world_size - 1}: due part 0, part 1, 6 tensors trained" in each["refused"]


def test_the_example_runs_under_torchrun() -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(ROOT / "examples" / "data_parallel.py")],
        env=rank_environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("test accuracy")
    assert float(last.split()[2].rstrip("%")) > 80
