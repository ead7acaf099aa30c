"""Globs on parameter names."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from multirate_core.errors import PartitionError
from multirate_core.partition.patterns import MAX_GLOB, PathIndex, escape, literal, matches

seeded = settings(derandomize=True, deadline=None, database=None, max_examples=300)
parts = st.text(alphabet=st.sampled_from("ab0[]*?!-^.\\\n<ü "), min_size=1, max_size=8)
names = parts.filter(lambda name: "" not in name.split("."))

CASES = (
    ("layer1", "layer1.0.conv1.weight", True),
    ("layer1", "layer10.0.conv1.weight", False),
    ("layer1", "layer1", True),
    ("layer1.0", "layer1.0.bn1.bias", True),
    ("conv1", "layer1.0.conv1.weight", False),
    ("*.conv1", "layer1.0.conv1.weight", True),
    ("layer[12]", "layer2.0.conv1.weight", True),
    ("layer[!12]", "layer2.0.conv1.weight", False),
    ("layer?", "layer3.0.conv1.weight", True),
    ("layer?", "layer10.0.conv1.weight", False),
    ("*.bias", "layer1.0.bn1.bias", True),
    ("*bias", "bias", True),
    ("*.bias", "bias", False),
    ("l*t", "layer1.0.conv1.weight", True),
    ("*", "anything.at.all", True),
    ("Layer1", "layer1.0.weight", False),
    ("", "weight", False),
    ("[", "[.weight", True),
    ("[z-a]", "b.weight", False),
    ("a[[]b]", "a[b].weight", True),
)


@pytest.mark.parametrize(("pattern", "name", "wanted"), CASES)
def test_patterns_match_names_and_the_modules_that_hold_them(pattern: str, name: str, wanted: bool) -> None:
    assert matches(pattern, name) is wanted
    assert PathIndex([name]).matching(pattern) == ([name] if wanted else [])


@seeded
@given(names, names)
def test_an_escaped_name_matches_itself_and_what_lies_below_it_only(name: str, other: str) -> None:
    assert literal(escape(name)) == name
    assert matches(escape(name), name)
    assert matches(escape(name), f"{name}.weight")
    assert matches(escape(name), other) == (other == name or other.startswith(f"{name}."))


@seeded
@given(st.text(max_size=20) | parts, st.lists(names, max_size=6, unique=True))
def test_the_index_finds_what_matching_each_name_finds(pattern: str, all_names: list[str]) -> None:
    assert PathIndex(all_names).matching(pattern) == [name for name in all_names if matches(pattern, name)]


def test_an_overlong_glob_is_refused_before_it_costs_time() -> None:
    with pytest.raises(PartitionError, match="at most"):
        PathIndex(["a" * 50]).matching("*a" * MAX_GLOB)
