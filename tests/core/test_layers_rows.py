"""The rows of the board: order, places and notes; and two small trees as golden files.

After a wanted change, `python tests/core/test_layers_rows.py` writes the golden files again; look at the difference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN.parent))  # also when this file is run by itself

from tiny_models import BANK, MARKUP, Case, tree_named, tree_of  # noqa: E402

from multirate_core.layers.rows import Row, board_rows  # noqa: E402
from multirate_core.layers.tree import LayerTree, from_json, to_json  # noqa: E402

GOLDEN_NAMES = ("Nested", "SharedModule")
KEYS = {"id", "parent", "name", "kind", "params", "shape", "madds", "unit", "fold", "note", "tied"}
each_case = pytest.mark.parametrize("case", BANK, ids=lambda case: case.name)


def rows_by_id(name: str) -> dict[str, Row]:
    return {row["id"]: row for row in board_rows(tree_named(name))}


def as_text(tree: LayerTree) -> str:
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in board_rows(tree))
    return f'{{"tree": {to_json(tree)},\n"rows": [\n{rows}\n]}}\n'


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_the_tree_and_its_rows_are_as_they_were(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    assert as_text(tree_named(name)) == golden
    assert from_json(json.dumps(json.loads(golden)["tree"])) == tree_named(name)


@each_case
def test_rows_have_different_ids_and_stand_below_their_parents(case: Case) -> None:
    seen: set[str | None] = {None}
    for row in board_rows(tree_of(case)):
        assert row.keys() == KEYS
        assert row["parent"] in seen
        assert row["id"] not in seen
        seen.add(row["id"])
    json.dumps(board_rows(tree_of(case)))


@each_case
def test_unit_rows_are_the_trainable_parameters_in_order(case: Case) -> None:
    units = [row["id"] for row in board_rows(tree_of(case)) if row["unit"]]
    assert units == [name for name, tensor in case.build().named_parameters() if tensor.requires_grad]


@each_case
def test_top_level_rows_add_up_to_the_whole_network(case: Case) -> None:
    tree = tree_of(case)
    top = [row for row in board_rows(tree) if row["parent"] is None]
    assert sum(row["params"] for row in top) == tree.root.parameter_count
    assert sum(row["madds"] for row in top) + tree.root.own_multiply_adds == tree.root.multiply_adds


def test_what_the_root_owns_stands_at_the_top() -> None:
    rows = board_rows(tree_named("RootOwned"))
    assert (rows[0]["id"], rows[0]["parent"], rows[0]["unit"], rows[0]["shape"]) == ("token", None, True, "1×1×4")


def test_a_module_that_is_passed_by_says_so() -> None:
    assert "never called" in rows_by_id("RootOwned")["unused"]["note"]
    assert "never called" in rows_by_id("Attention")["attention.out_proj"]["note"]
    assert rows_by_id("Attention")["attention"]["note"] == ""
    assert all("never called" not in row["note"] for row in board_rows(tree_named("Failing")))


def test_a_tied_tensor_is_movable_once_and_each_name_points_to_the_other() -> None:
    rows = rows_by_id("Tied")
    assert (rows["encoder.weight"]["unit"], rows["encoder.weight"]["note"]) == (True, "also used as decoder.weight")
    second = rows["decoder.weight"]
    assert (second["unit"], second["note"], second["tied"]) == (False, "tied to encoder.weight", "encoder.weight")


def test_frozen_parameters_are_shown_and_cannot_be_moved() -> None:
    rows = rows_by_id("Frozen")
    assert (rows["body.weight"]["unit"], rows["body.weight"]["note"]) == (False, "frozen")
    assert (rows["body.bias"]["unit"], rows["body.bias"]["note"]) == (True, "")


def test_equal_blocks_share_their_fold() -> None:
    rows = rows_by_id("Nested")
    assert rows["layer1.0"]["fold"] == rows["layer1.2"]["fold"] == rows["layer10.0"]["fold"] != ""
    assert rows["layer1.0"]["fold"] != rows["layer1"]["fold"]
    assert rows["layer1.0.0.weight"]["fold"] == ""


def test_names_with_markup_stay_as_they_are() -> None:
    assert rows_by_id("OddNames")[f"{MARKUP}.weight"]["parent"] == MARKUP


if __name__ == "__main__":
    for golden_name in GOLDEN_NAMES:
        (GOLDEN / f"{golden_name}.json").write_text(as_text(tree_named(golden_name)), encoding="utf-8")
