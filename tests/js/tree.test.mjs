import assert from "node:assert/strict";
import { test } from "node:test";

import { buildTree, firstOpen, rowName, rowPath } from "../../pages/components/board/layer_board/tree.js";
import { blocks, parameter, row } from "./trees.mjs";

const ids = (nodes) => nodes.map((node) => node.id);

test("a module knows the positions of all parameters below it", () => {
  const { nodes, roots, unitCount } = buildTree(blocks(), false);
  assert.deepEqual(ids(roots), ["token", "stem", "body", "head"]);
  assert.equal(unitCount, 9);
  assert.deepEqual(nodes.get("body").units, [2, 3, 4, 5, 6]);
  assert.deepEqual(nodes.get("head").units, [7, 8]);
  assert.deepEqual(nodes.get("token").units, [0]);
});

test("every parameter is below exactly one root", () => {
  for (const fold of [false, true]) {
    const { roots, unitCount } = buildTree(blocks(), fold);
    assert.deepEqual(roots.flatMap((node) => node.units), [...Array(unitCount).keys()]);
  }
});

test("parameters that a module owns beside its children keep their place", () => {
  const rows = [row("attention"), parameter("attention.in_proj_weight", 6), row("attention.out_proj"), parameter("attention.out_proj.weight", 2)];
  const { nodes } = buildTree(rows, true);
  assert.deepEqual(ids(nodes.get("attention").children), ["attention.in_proj_weight", "attention.out_proj"]);
});

test("three or more equal siblings fold into one row that holds them", () => {
  const { nodes } = buildTree(blocks(), true);
  const [first, fold, ...more] = nodes.get("body").children;
  assert.equal(first.id, "body.0");
  assert.equal(more.length, 0);
  assert.deepEqual(ids(fold.children), ["body.1", "body.2", "body.3", "body.4"]);
  assert.deepEqual(fold.units, [3, 4, 5, 6]);
  assert.equal(fold.params, 400);
  assert.equal(rowName(fold, fold.members), "1…4");
  assert.equal(rowPath(fold), "body.1 to 4");
});

test("two equal siblings, interrupted runs and empty signatures are not folded", () => {
  const rows = ["a", "b", "x", "c", "d"].map((id) => row(id, { fold: id === "x" ? "other" : "same" }));
  assert.deepEqual(ids(buildTree(rows, true).roots), ["a", "b", "x", "c", "d"]);
  const plain = ["a", "b", "c", "d"].map((id) => row(id));
  assert.deepEqual(ids(buildTree(plain, true).roots), ["a", "b", "c", "d"]);
});

test("a folded run inside a folded run is folded too", () => {
  const rows = [];
  for (const outer of [0, 1, 2]) {
    rows.push(row(`${outer}`, { fold: "outer" }));
    for (const inner of [0, 1, 2]) rows.push(row(`${outer}.${inner}`, { fold: "inner" }), parameter(`${outer}.${inner}.w`, 1));
  }
  const { roots } = buildTree(rows, true);
  assert.equal(roots.length, 1);
  assert.equal(roots[0].children[0].children[0].members.length, 3);
  assert.equal(roots[0].units.length, 9);
});

test("a row that is tied to a parameter is a guest of it, not a parameter of its own", () => {
  const rows = [row("embed"), parameter("embed.weight", 8), row("decoder"), row("decoder.weight", { tied: "embed.weight", note: "tied" })];
  const { nodes } = buildTree(rows, true);
  assert.deepEqual(nodes.get("decoder").units, []);
  assert.deepEqual(nodes.get("decoder").guests, [0]);
  assert.equal(nodes.get("decoder").noted, true);
});

test("at first only modules of modules are open, and no more than fit", () => {
  assert.deepEqual([...firstOpen(buildTree(blocks(), true), 14)], ["body", "body.0"]);
  assert.deepEqual([...firstOpen(buildTree(blocks(), true), 6)], ["body"]);
  assert.deepEqual([...firstOpen(buildTree(blocks(), true), 5)], []);
});
