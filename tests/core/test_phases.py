"""A schedule for k as text: what people type, what is written back, and how it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirate_core.config import GroupSpec
from multirate_core.errors import ConfigError
from multirate_core.partition.phases import phases_in_words, read_phases, write_phases

LENGTHS = st.floats(0, 100_000, exclude_min=True)
PHASES = st.lists(st.tuples(LENGTHS, st.integers(1, 1_000_000)), max_size=20).map(tuple)


WRONG = ["1", "1:", ":2", "a:1", "1:2;2:2", "1:2,,2:2", "1.5:2", "1:nan", "1:inf", "0:1", "1:-1"]


@given(PHASES)
def test_any_schedule_comes_back_from_its_text(phases: tuple[tuple[float, int], ...]) -> None:
    assert read_phases(write_phases(phases)) == phases


def test_a_schedule_is_typed_as_k_and_epochs() -> None:
    assert read_phases(" 1:2, 2 : 0.5 ") == ((2, 1), (0.5, 2))
    assert write_phases(((2, 1), (0.5, 2))) == "1:2,2:0.5"
    assert read_phases("") == read_phases("  ") == ()


@pytest.mark.parametrize(
    "text", ["1", "1:", ":2", "a:1", "1:2;2:2", "1:2,,2:2", "1.5:2", "1:nan", "1:inf", "0:1", "1:-1"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"schedule for k|phase of group"):
        read_phases(text)


def test_a_schedule_is_said_in_words() -> None:
    assert (
        phases_in_words(GroupSpec("slow", 5, phases=((1, 1), (2.5, 2))))
        == "k = 1 for 1 epoch, 2 for 2.5 epochs, then 5"
    )
    assert phases_in_words(GroupSpec("slow", 5)) == ""


def test_a_schedule_that_is_refused_names_its_group() -> None:
    with pytest.raises(ConfigError, match="the period of a phase of group 'middle' must be a whole number"):
        read_phases("0:2", "middle")
