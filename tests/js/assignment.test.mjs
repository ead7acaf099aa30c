import assert from "node:assert/strict";
import { test } from "node:test";

import * as assignment from "../../pages/components/board/layer_board/assignment.js";
import { buildTree } from "../../pages/components/board/layer_board/tree.js";
import { blocks } from "./trees.mjs";

const { dropStamp, moveUnits, receive, record, redo, startHistory, tally, undo, unitsIn } = assignment;
const CODES = "111111100";

test("moving changes the named parameters and leaves the old assignment alone", () => {
  assert.equal(moveUnits(CODES, [0, 2], 0), "010111100");
  assert.equal(moveUnits(CODES, [0], 35), "z11111100");
  assert.equal(CODES, "111111100");
});

test("a block brings only those of its parameters that are in the pane it is dragged from", () => {
  const { nodes } = buildTree(blocks(), true);
  assert.deepEqual(unitsIn(nodes.get("body"), "110011100", 1), [4, 5, 6]);
  assert.deepEqual(unitsIn(nodes.get("body"), "110011100", 0), [2, 3]);
  assert.deepEqual(unitsIn(nodes.get("body"), "110011100", 7), []);
});

test("the parts of a node over the groups add up to the node", () => {
  const tree = buildTree(blocks(), true);
  const { parts, total } = tally(tree, "110020100", 3);
  for (const node of tree.nodes.values()) {
    assert.equal(parts.get(node).params.reduce((a, b) => a + b), node.units.length ? node.params : 0, node.id);
    assert.equal(parts.get(node).units.reduce((a, b) => a + b), node.units.length, node.id);
  }
  assert.equal(total.params.reduce((a, b) => a + b), 8 + 10 + 500 + 33);
  assert.deepEqual(parts.get(tree.nodes.get("body")).units, [3, 1, 1]);
});

test("undo and redo walk through all assignments and back", () => {
  let history = startHistory("11");
  for (const codes of ["01", "00", "10"]) history = record(history, codes);
  for (const expected of ["00", "01", "11", "11"]) {
    history = undo(history);
    assert.equal(history.present, expected);
  }
  for (const expected of ["01", "00", "10", "10"]) {
    history = redo(history);
    assert.equal(history.present, expected);
  }
});

test("a new move after undo forgets what was undone; an equal one is no move", () => {
  const history = record(undo(record(record(startHistory("11"), "01"), "00")), "10");
  assert.equal(redo(history).present, "10");
  assert.equal(record(history, "10"), history);
});

test("a long session keeps a bounded history", () => {
  let history = startHistory("0");
  for (let step = 0; step < 1000; step++) history = record(history, step % 2 ? "0" : "1");
  assert.ok(history.past.length <= 200);
});

test("a seed that is already known never overwrites newer drops", () => {
  const first = receive(null, { stamp: "py:1", codes: "11" }, 2);
  const dropped = { ...first, history: record(first.history, "01") };
  assert.equal(receive(dropped, { stamp: "py:1", codes: "11" }, 2), dropped);
});

test("a new seed wins over drops under way and can be undone", () => {
  const first = receive(null, { stamp: "py:1", codes: "11" }, 2);
  const dropped = { ...first, history: record(first.history, "01") };
  const preset = receive(dropped, { stamp: "py:2", codes: "00" }, 2);
  assert.deepEqual([preset.base, preset.history.present], ["py:2", "00"]);
  assert.equal(undo(preset.history).present, "01");
});

test("a seed for another number of parameters starts a new history", () => {
  const other = receive(receive(null, { stamp: "py:1", codes: "11" }, 2), { stamp: "py:2", codes: "000" }, 2);
  assert.deepEqual(other.history, startHistory("000"));
});

test("states that name a group which is gone cannot be undone into", () => {
  const three = receive(null, { stamp: "py:1", codes: "11" }, 3);
  const dropped = { ...three, history: record(record(three.history, "12"), "01") };
  const two = receive(dropped, { stamp: "py:2", codes: "00" }, 2);
  assert.deepEqual(two.history.past, ["11", "01"]);
  const inside = { ...three, history: record(three.history, "12") };
  assert.deepEqual(receive(inside, { stamp: "py:2", codes: "10" }, 2).history, startHistory("10"));
});

test("the stamp of a drop names the seed that it builds on", () => {
  assert.equal(dropStamp("py:1", "x7", 4), "py:1/x7.4");
});
