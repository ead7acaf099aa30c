"""Trees made by another process: cached, retried, atomic, and read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multirate_core.errors import ConfigError, ModelError, StoreError
from multirate_core.layers import describe
from multirate_core.layers.build import layer_tree
from multirate_core.layers.describe import SHIPPED, DescribeError, TreeRequest, outcome, read, start
from multirate_core.layers.gradient_graph import merge
from multirate_core.layers.saved_bytes import count_saved
from multirate_core.layers.trace_gradients import trace_gradients
from multirate_core.layers.tree import LayerTree, from_json, to_json
from multirate_core.models.registry import build_skeleton

SQUEEZENET = TreeRequest("squeezenet1_1", num_classes=2, input_shape=(3, 64, 64))
UNKNOWN = TreeRequest("no_such_model", num_classes=2, input_shape=(3, 64, 64))


@pytest.mark.slow
def test_two_processes_at_once_make_the_tree_that_a_direct_build_gives() -> None:
    assert read(SQUEEZENET) is None
    processes = [start(SQUEEZENET), start(SQUEEZENET)]
    assert [process.wait(120) for process in processes] == [0, 0]
    tree = read(SQUEEZENET)
    assert isinstance(tree, LayerTree)
    assert outcome(SQUEEZENET, processes[0]) is tree
    with torch.device("meta"):
        model, head = build_skeleton("squeezenet1_1", 2, (3, 64, 64))
    graph = trace_gradients(model, (3, 64, 64))
    assert graph is not None
    direct = replace(layer_tree(model, (3, 64, 64), "squeezenet1_1", head), gradients=merge(graph))
    assert replace(tree, saved=None) == direct
    assert tree.saved is not None and tree.saved == count_saved(model, (3, 64, 64))
    assert tree.head
    assert read(TreeRequest("squeezenet1_1", 3, (3, 64, 64))) is None


def test_an_unknown_model_is_an_error_that_can_be_read_and_retried(own_home: Path) -> None:
    process = start(UNKNOWN)
    assert process.wait(120) == 2
    answer = read(UNKNOWN)
    assert isinstance(answer, DescribeError)
    assert "no_such_model" in answer.message
    again = start(UNKNOWN)
    assert again.wait(120) == 2
    assert outcome(UNKNOWN, again) == answer
    assert not list((own_home / "trees").glob("*.partial"))


def test_a_process_that_dies_without_a_word_is_an_error_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    process = start(UNKNOWN)
    process.wait(30)
    assert read(UNKNOWN) is None
    answer = outcome(UNKNOWN, process)
    assert isinstance(answer, DescribeError)
    assert "exit code 1" in answer.message


def test_a_damaged_file_counts_as_missing(own_home: Path) -> None:
    path = describe._tree_path(SQUEEZENET)
    path.write_text('{"format": "multirate-layer-tree", "version": 1', encoding="utf-8")
    assert read(SQUEEZENET) is None


def test_the_tree_that_ships_is_what_a_fresh_build_gives() -> None:
    assert read(SHIPPED) == describe.describe(SHIPPED)


def test_a_program_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StoreError, match="cannot be made"):
        start(UNKNOWN)


@pytest.mark.parametrize(
    "fields",
    [
        ("", 2, (3, 64, 64)),
        ("x", 0, (3, 64, 64)),
        ("x", 2, (3.0, 64, 64)),
        ("x", 2, (3, 64, 10**9)),
        ("x", 2, (3, 64)),
        (7, 2, (3, 64, 64)),
    ],
)
def test_bad_requests_are_refused(fields: tuple) -> None:
    with pytest.raises(ConfigError):
        TreeRequest(*fields)


@pytest.mark.parametrize(
    "change",
    [{"version": 1}, {"format": "x"}, {"root": {"kind": "x"}}, {"root": []}, {"input_shape": None}, {"head": 3}],
)
def test_trees_of_other_versions_and_damaged_ones_are_refused(change: dict) -> None:
    read_back = read(SHIPPED)
    assert isinstance(read_back, LayerTree)
    with pytest.raises(ModelError):
        from_json(json.dumps(json.loads(to_json(read_back)) | change))
    with pytest.raises(ModelError):
        from_json("[" * 100_000)


def test_what_the_page_uses_needs_no_torch() -> None:
    program = """
import sys
from multirate_core.layers.describe import SHIPPED, read
from multirate_core.layers.rows import board_rows
from multirate_core.partition import codes, files, links, preset, resolve, to_spec
tree = read(SHIPPED)
assert board_rows(tree)
partition = preset("head", tree, 5)
assert links.decode(links.encode(partition, tree), tree) == partition
assert resolve(files.loads(files.dumps(to_spec(partition, tree))), tree) == partition
assert codes.assignment_from_codes(codes.codes_of(partition, tree), tree, partition.groups) == partition
heavy = {"torch", "torchvision", "torchinfo", "numpy", "streamlit"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
