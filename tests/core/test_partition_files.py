"""The partition file: what it looks like, that it comes back, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tiny_models import tree_named

from multirate_core.config import GroupSpec, PartitionSpec, Rule
from multirate_core.errors import PartitionError
from multirate_core.partition import preset, resolve, to_spec
from multirate_core.partition.files import MAX_BYTES, dumps, load, loads

pytestmark = pytest.mark.slow  # many cases: they belong to the full set

seeded = settings(derandomize=True, deadline=None, database=None, max_examples=200)
GOOD: dict[str, Any] = {
    "format": "multirate-partition",
    "version": 1,
    "groups": [{"name": "fast", "period": 1}, {"name": "slow", "period": 5}],
    "rules": [{"pattern": "fc", "group": "fast"}, {"pattern": "*", "group": "slow"}],
}


def test_the_file_reads_as_people_would_write_it() -> None:
    tree = tree_named("Nested")
    assert (
        dumps(to_spec(preset("head", tree, 5), tree))
        == f"""{{
  "format": "multirate-partition",
  "version": 1,
  "model": "Nested",
  "fingerprint": "{tree.fingerprint}",
  "groups": [
    {{"name": "fast", "period": 1}},
    {{"name": "slow", "period": 5}}
  ],
  "rules": [
    {{"pattern": "fc", "group": "fast"}},
    {{"pattern": "*", "group": "slow"}}
  ]
}}
"""
    )


def test_rates_stand_in_the_file_where_they_are_not_the_usual_ones() -> None:
    groups = (GroupSpec("fast", 1, 2.0), GroupSpec("slow", 5, phases=((2, 1), (0.5, 2))), GroupSpec("rest", 9))
    lines = dumps(PartitionSpec(groups, ())).splitlines()
    assert lines[6:9] == [
        '    {"name": "fast", "period": 1, "lr_factor": 2.0},',
        '    {"name": "slow", "period": 5, "phases": [{"epochs": 2, "period": 1}, {"epochs": 0.5, "period": 2}]},',
        '    {"name": "rest", "period": 9}',
    ]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"lr_factor": 0}, "lr_factor of group 'slow'"),
        ({"lr_factor": "2"}, "lr_factor of group 'slow'"),
        ({"phases": {"epochs": 2}}, "must be a list of objects"),
        ({"phases": [[2, 1]]}, "must be a list of objects"),
        ({"phases": [{"epochs": 2}]}, "the period of a phase"),
        ({"phases": [{"epochs": 2, "period": 1, "k": 1}]}, "does not know 'k'"),
        ({"rate": 1}, "does not know 'rate'"),
    ],
)
def test_rates_that_cannot_be_are_refused(rates: dict[str, Any], words: str) -> None:
    raw = {**GOOD, "groups": [GOOD["groups"][0], {**GOOD["groups"][1], **rates}]}
    with pytest.raises(PartitionError, match=words):
        loads(json.dumps(raw))


text = st.text(max_size=12)
names = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=6, unique=True)


def rated(name: str, period: int) -> st.SearchStrategy[GroupSpec]:
    phase = st.tuples(st.floats(0, 1000, exclude_min=True) | st.integers(1, 9), st.integers(1, 99))
    phases = st.just(()) if period == 1 else st.lists(phase, max_size=3).map(tuple)
    factors = st.just(1.0) | st.floats(0, 100, exclude_min=True)
    return st.builds(GroupSpec, st.just(name), st.just(period), factors, phases)


@st.composite
def specs(draw: st.DrawFn) -> PartitionSpec:
    group_names = draw(names)
    periods = [1, *(draw(st.integers(1, 1_000_000)) for _ in group_names[1:])]
    rules = st.builds(Rule, text, st.sampled_from(group_names))
    groups = tuple(draw(rated(name, period)) for name, period in zip(group_names, periods, strict=True))
    return PartitionSpec(groups, tuple(draw(st.lists(rules, max_size=4))), draw(text), draw(text))


@seeded
@given(specs())
def test_any_specification_comes_back_equal(spec: PartitionSpec) -> None:
    assert loads(dumps(spec)) == spec
    assert json.loads(dumps(spec))["format"] == "multirate-partition"


def test_a_file_by_hand_without_model_and_fingerprint_fits_every_model_with_such_names() -> None:
    spec = loads(json.dumps(GOOD))
    assert (spec.model, spec.fingerprint) == ("", "")
    for name in ("Plain", "Nested", "LooksAtValues"):
        assert resolve(spec, tree_named(name)).members("fast") == ("fc.weight", "fc.bias")


BAD = (
    ({"format": "other"}, "is no partition"),
    ({"version": 2}, "version 2, this program reads 1"),
    ({"version": True}, "version True"),
    ({"version": None}, "version None"),
    ({"groups": []}, "1 to 36 groups"),
    ({"groups": {}}, "groups must be a list"),
    ({"groups": ["fast"]}, "groups, entry 1, must be an object"),
    ({"groups": [{"name": "fast"}]}, "entry 1, needs 'period' as a whole number, got None"),
    ({"groups": [{"name": "fast", "period": 1.0}]}, "needs 'period' as a whole number, got 1.0"),
    ({"groups": [{"name": "fast", "period": 0}]}, "period must be a whole number ≥ 1, got 0"),
    ({"groups": [{"name": 3, "period": 1}]}, "needs 'name' as text"),
    ({"groups": [{"name": "fast", "period": 1, "lr": 2}]}, "does not know 'lr'"),
    ({"groups": [{"name": "fast", "period": 2}, {"name": "slow", "period": 5}]}, "no group has period 1"),
    ({"groups": [{"name": "fast", "period": 1}, {"name": "fast", "period": 5}]}, "different names"),
    ({"rules": [{"pattern": "fc", "group": "other"}]}, "names the group 'other'"),
    ({"rules": [{"pattern": None, "group": "fast"}]}, "needs 'pattern' as text"),
    ({"rules": None}, "rules must be a list"),
    ({"model": 3}, "model must be text"),
    ({"fingerprint": []}, "fingerprint must be text"),
    ({"comment": "x"}, "does not know 'comment'"),
    ({"groups": [{"name": "a\ud800", "period": 1}]}, "a group's name must be text that UTF-8 can hold"),
    ({"rules": [{"pattern": "\ud800", "group": "fast"}]}, "a pattern must be text that UTF-8 can hold"),
    ({"fingerprint": "\ud800"}, "fingerprint must be text that UTF-8 can hold"),
)


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_files_are_refused_with_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PartitionError, match=message.replace("(", r"\(")):
        loads(json.dumps(GOOD | change))


@pytest.mark.parametrize("content", ["", "{", "null", "3", "[]", '"x"', "[" * 100_000, "9" * 5000, "\x00", "NaN"])
def test_what_is_no_partition_file_is_refused(content: str) -> None:
    with pytest.raises(PartitionError, match="Is it the right file"):
        loads(content)


@seeded
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda values: st.lists(values), max_leaves=20
    )
)
def test_any_values_give_a_specification_or_a_partition_error(value: Any) -> None:
    for key in GOOD:
        try:
            loads(json.dumps(GOOD | {key: value}))
        except PartitionError:
            continue


def test_oversize_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    path.write_text(json.dumps(GOOD) + " " * MAX_BYTES, encoding="utf-8")
    with pytest.raises(PartitionError, match="at most 1,000,000 bytes"):
        load(path)


def test_files_are_read_from_disk_and_unreadable_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text("\ufeff" + json.dumps(GOOD), encoding="utf-8")
    assert load(path) == loads(json.dumps(GOOD))
    with pytest.raises(PartitionError, match="cannot be read: No such file"):
        load(tmp_path / "missing.json")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PartitionError, match="no UTF-8"):
        load(path)
