"""The program that damages tables: its tables are valid before, what it counts is what happens."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from table_cases import pairs

from benchmarks import fuzz_tables
from benchmarks.table_mutations import MUTATIONS, SUFFIXES, mutated, valid_table
from multirate_core.data.tables import read_table
from multirate_core.errors import DataError

pytestmark = pytest.mark.slow  # many cases: they belong to the full set


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_tables_are_valid_before_they_are_mutated(tmp_path: Path, suffix: str) -> None:
    for seed in range(40):
        path = tmp_path / f"{seed}{suffix}"
        path.write_bytes(valid_table(suffix, random.Random(seed)))
        assert sum(pairs(read_table(path)).values()) >= 4


def test_every_mutation_changes_most_tables() -> None:
    draw = random.Random(0)
    tables = [valid_table(suffix, draw) for suffix in SUFFIXES for _ in range(20)]
    for mutation in set(MUTATIONS):
        assert sum(mutation(table, draw) != table for table in tables) > 30, mutation
    assert mutated(tables[0], random.Random(1)) == mutated(tables[0], random.Random(1))


def test_reads_are_counted_and_no_promise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_tables, "QUICK_FILES", 60)
    monkeypatch.setattr("sys.argv", ["fuzz_tables", "--seed", "7"])
    result = fuzz_tables.measure(quick=True)
    assert result.as_dict()["met"] and result.settings["seed"] == 7
    assert sum(result.details["outcomes"].values()) == 3 * 60
    assert result.details["outcomes"]["skip: read"] > result.details["outcomes"]["refuse: read"] > 0


def test_any_other_error_and_a_message_that_cannot_be_printed_are_kept_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"text")
    found = fuzz_tables.Outcomes()
    for error in (KeyError("odd"), DataError("half \ud800"), DataError("x" * 3000), DataError("fine")):

        def read(error: Exception = error) -> None:
            raise error

        fuzz_tables._outcome("refuse", path, 3, read, {}, found)
    assert found.failed == 3 and found.counts == {"refuse: crashed": 1, "refuse: refused": 3}
    assert "KeyError: 'odd'" in found.failures[0]["reason"] and found.failures[0]["files"] == {"table.csv": "dGV4dA=="}
