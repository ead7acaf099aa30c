import assert from "node:assert/strict";
import { test } from "node:test";

import { moveUnits, tally } from "../../pages/components/board/layer_board/assignment.js";
import { fastStepSeconds, fastUnits, moveTarget, neededNodes, rowCost } from "../../pages/components/board/layer_board/cost.js";
import { moveWords, passedWords, reachWords, stepWords, timeWords } from "../../pages/components/board/layer_board/cost_words.js";
import { milliseconds, shortBytes } from "../../pages/components/board/layer_board/format.js";
import { nodesOfRows, reachOf, stopRow } from "../../pages/components/board/layer_board/reach.js";
import { parseFilter, visibleRows } from "../../pages/components/board/layer_board/rows.js";
import { buildTree } from "../../pages/components/board/layer_board/tree.js";
import { blocks, parameter, row } from "./trees.mjs";

const GROUPS = [{ name: "fast", period: 1 }, { name: "slow", period: 5 }];

function costOf(nodes, unitCount, fields = {}) {
  return { measured: true, nodes, rows: {}, unit_s: new Array(unitCount).fill(0), base_s: 0, sgd_s: 1, ...fields };
}

const needed = (cost, codes) => [...neededNodes(cost, fastUnits(codes, GROUPS))].join("");
const seconds = (cost, codes) => fastStepSeconds(cost, fastUnits(codes, GROUPS));

/** Three layers in a row; a gradient costs 1, 2, 4 beside going on and 10, 20, 40 alone. */
const chain = (fields) => costOf([[[], 100, 0.5, [[0, 1, 10]]], [[0], 200, 0.5, [[1, 2, 20]]], [[1], 400, 0.5, [[2, 4, 40]]]], 3, fields);

test("in a chain everything after the first fast layer is needed, and it alone gets its gradient alone", () => {
  assert.equal(needed(chain(), "110"), "001");
  assert.equal(seconds(chain(), "110"), 40.5);
  assert.equal(needed(chain(), "101"), "011");
  assert.equal(seconds(chain(), "101"), 20.5 + 400.5);
  assert.equal(needed(chain(), "000"), "111");
  assert.equal(seconds(chain(), "000"), 10.5 + 202.5 + 404.5);
});

test("the seconds of a fast step have a base and the updates of the fast parameters", () => {
  const cost = chain({ base_s: 7, unit_s: [0.1, 0.2, 0.4] });
  assert.equal(seconds(cost, "110"), 7 + 40.5 + 0.4);
  assert.equal(seconds(cost, "010"), 7 + (10.5 + 200.5 + 404.5) + 0.1 + 0.4);
  assert.equal(seconds(cost, "111"), 7);
});

test("a skip does not carry gradients into the branch beside it", () => {
  const cost = costOf([
    [[], 1, 0, [[0, 1, 1]]],            // stem
    [[0], 10, 0, [[1, 1, 2]]],          // branch
    [[0], 100, 0, [[2, 1, 3]]],         // skip with a weight
    [[1, 2], 0, 5, []],                 // sum
  ], 3);
  assert.equal(needed(cost, "110"), "0011");
  assert.equal(seconds(cost, "110"), 3 + 5);
  assert.equal(needed(cost, "101"), "0101");
  assert.equal(needed(cost, "011"), "1111");
  assert.equal(seconds(cost, "011"), 1 + 10 + 100 + 5);
});

test("a weight that is used twice gets a gradient at both places", () => {
  const cost = costOf([[[], 0, 0, [[0, 1, 2]]], [[0], 10, 0, [[1, 3, 4]]], [[1], 20, 0, [[0, 5, 6]]]], 2);
  assert.equal(needed(cost, "01"), "111");
  assert.equal(seconds(cost, "01"), 2 + 10 + 20 + 5);
  assert.equal(needed(cost, "10"), "011");
  assert.equal(seconds(cost, "10"), 4 + 20);
});

test("a parameter that nothing uses costs its update and carries no gradient", () => {
  const cost = chain({ unit_s: [0, 0, 0, 9] });
  assert.equal(needed(cost, "1110"), "000");
  assert.equal(seconds(cost, "1110"), 9);
});

test("places that are not in the graph are as if nothing were there", () => {
  const cost = costOf([[[7, -1], 1, 1, [[9, 1, 1]]]], 9, { rows: { "head": { nodes: [5] } } });
  assert.equal(needed(cost, "000000000"), "0");
  const { reach } = reachIn(blocks(), cost, "000000000");
  assert.deepEqual([reach.crossed, reach.layers, reach.earliest], [0, 1, null]);
});

test("a row goes to the first fast group, from there to the first slow one", () => {
  const groups = [{ period: 5 }, { period: 1 }, { period: 1 }, { period: 25 }];
  assert.deepEqual([0, 1, 2, 3].map((from) => moveTarget(groups, from)), [1, 0, 0, 1]);
  assert.equal(moveTarget([{ period: 1 }, { period: 1 }], 0), -1);
  assert.equal(moveTarget([{ period: 2 }, { period: 3 }], 1), -1);
});

test("a folded run costs what its members cost, and nothing is told where nothing was measured", () => {
  const entry = { nodes: [], forward_s: 1, backward_s: 2, saved_bytes: 3 };
  const cost = costOf([], 0, { rows: { a: entry, b: entry } });
  const members = [{ id: "a" }, { id: "b" }, { id: "unknown" }];
  assert.deepEqual(rowCost(cost, { node: { id: "fold:a" }, members }), { forward: 2, backward: 4, bytes: 6 });
  assert.deepEqual(rowCost(cost, { node: { id: "a" }, members: null }), { forward: 1, backward: 2, bytes: 3 });
  assert.equal(rowCost(cost, { node: { id: "constructor" }, members: null }), null);
  assert.equal(rowCost({ ...cost, measured: false }, { node: { id: "a" }, members: null }), null);
});

// ---- rows ------------------------------------------------------------------------------------------------

/** The blocks of trees.mjs: token and stem, five convolutions with an activation that each block adds to its input, head. */
function blockCost() {
  const nodes = [[[], 1, 0, [[1, 1, 1]]], [[0], 1, 0, [[0, 1, 1]]]];
  const rows = { stem: { nodes: [0] } };
  for (let block = 0; block < 5; block++) {
    const before = nodes.length - 1;
    nodes.push([[before], 1, 0, [[2 + block, 1, 1]]], [[before + 1], 1, 0, []], [[before, before + 2], 1, 0, []]);
    rows[`body.${block}.conv`] = { nodes: [before + 1] };
    rows[`body.${block}.relu`] = { nodes: [before + 2] };
    rows[`body.${block}`] = { nodes: [before + 3] };
  }
  rows.head = { nodes: [nodes.length] };
  nodes.push([[nodes.length - 1], 1, 0, [[7, 1, 1], [8, 1, 1]]]);
  return costOf(nodes, 9, { rows });
}

function reachIn(rows, cost, codes, fold = true) {
  const tree = buildTree(rows, fold);
  const { parts } = tally(tree, codes, GROUPS.length);
  const reach = reachOf(tree, nodesOfRows(cost, tree), neededNodes(cost, fastUnits(codes, GROUPS)), parts);
  const passed = (group) => [...tree.nodes.values()].filter((node) => reach.rows.get(node)[group].passed).map(({ id }) => id);
  return { tree, parts, reach, passed, of: (id, group) => reach.rows.get(tree.nodes.get(id))[group] };
}

test("gradients cross the layers from the last to the first fast one", () => {
  const head = reachIn(blocks(), blockCost(), "111111100");
  assert.deepEqual([head.reach.crossed, head.reach.layers, head.reach.earliest.id], [1, 12, "head"]);
  assert.deepEqual(head.passed(0), ["head", "head.weight", "head.bias"]);
  assert.deepEqual(head.passed(1), []);
  const middle = reachIn(blocks(), blockCost(), "111110100");
  assert.deepEqual([middle.reach.crossed, middle.reach.earliest.id], [5, "body.3.conv"]);
  const all = reachIn(blocks(), blockCost(), "101111100");      // token is earlier on the board, stem in the graph
  assert.deepEqual([all.reach.crossed, all.reach.earliest.id], [12, "stem"]);
});

test("a parameter outside of all modules is named when gradients stop at it", () => {
  const { reach, of } = reachIn(blocks(), blockCost(), "011111100");
  assert.equal(reach.earliest.id, "token");
  assert.equal(reach.crossed, 11);
  assert.ok(!of("stem", 1).passed);
});

test("in each pane a block counts what it shows there", () => {
  const { of } = reachIn(blocks(), blockCost(), "111110100");
  assert.deepEqual(of("body", 0), { passed: true, crossed: 2, layers: 2 });
  assert.deepEqual(of("body", 1), { passed: true, crossed: 2, layers: 8 });
  assert.deepEqual(of("fold:body.1", 1), { passed: true, crossed: 2, layers: 6 });
  assert.deepEqual(of("body.3", 1), { passed: false, crossed: 0, layers: 0 });
  assert.deepEqual(of("body.2", 1), { passed: false, crossed: 0, layers: 2 });
});

test("a tied weight is reached where the layer around it is", () => {
  const rows = [row("embed"), parameter("embed.weight", 8), row("mid"), parameter("mid.weight", 4), row("decoder")];
  rows.push(row("decoder.weight", { tied: "embed.weight" }));
  const nodes = [[[], 1, 0, [[0, 1, 1]]], [[0], 1, 0, [[1, 1, 1]]], [[1], 1, 0, [[0, 1, 1]]]];
  const cost = costOf(nodes, 2, { rows: { embed: { nodes: [0] }, mid: { nodes: [1] }, decoder: { nodes: [2] } } });
  const { reach, passed } = reachIn(rows, cost, "10");
  assert.deepEqual(passed(0), ["mid", "mid.weight"]);
  assert.deepEqual(passed(1), ["decoder", "decoder.weight"]);
  assert.deepEqual([reach.crossed, reach.layers, reach.earliest.id], [2, 3, "mid"]);
});

test("a module whose weights the block around it uses is reached with them and is no layer of its own", () => {
  const rows = [row("attention"), parameter("attention.in", 6), row("attention.out"), parameter("attention.out.weight", 2), row("head"), parameter("head.weight", 2)];
  const nodes = [[[], 1, 0, [[0, 1, 1]]], [[0], 1, 0, [[1, 1, 1]]], [[1], 1, 0, [[2, 1, 1]]]];
  const cost = costOf(nodes, 3, { rows: { attention: { nodes: [0, 1] }, head: { nodes: [2] } } });
  const { reach, passed } = reachIn(rows, cost, "101");
  assert.deepEqual(passed(0), ["attention", "attention.out", "attention.out.weight"]);
  assert.deepEqual([reach.crossed, reach.layers, reach.earliest.id], [1, 1, "attention"]);
});

function stopIn(codes, group, open, filter = "") {
  const { tree, parts, reach } = reachIn(blocks(), blockCost(), codes, false);
  const rows = visibleRows({ tree, parts, group, open: new Set(open), filter: parseFilter(filter), hideBare: true });
  return stopRow(rows, (each) => reach.rows.get(each.node)[group].passed)?.node.id;
}

test("the line is above the first row that gradients pass, inside an open block if they stop there", () => {
  const codes = "111110100";
  assert.equal(stopIn(codes, 0, []), "body");
  assert.equal(stopIn(codes, 0, ["body", "body.3"]), "body");
  assert.equal(stopIn(codes, 1, []), "body");
  assert.equal(stopIn(codes, 1, ["body"]), "body.4");
  assert.equal(stopIn("111111100", 1, ["body"]), undefined);
  assert.equal(stopIn(codes, 1, [], "body.4"), "body");
});

// ---- words -----------------------------------------------------------------------------------------------

test("the way of the gradients is said in words", () => {
  const fast = fastUnits("10", GROUPS);
  const reach = { crossed: 12, layers: 61, earliest: { id: "conv1" } };
  assert.equal(reachWords(GROUPS, fast, reach), "Fast steps: gradients cross 12 of 61 layers, back to conv1");
  assert.equal(reachWords(GROUPS, fast, { crossed: 0, layers: 1, earliest: null }), "Fast steps: gradients cross 0 of 1 layer");
  assert.equal(reachWords(GROUPS, fastUnits("11", GROUPS), reach), "Fast steps: no layer is updated at every step");
  assert.equal(reachWords([{ period: 2 }], fast, reach), "Fast steps: no group is updated at every step");
});

test("a row says whether gradients pass it, and how much of it", () => {
  assert.equal(passedWords({ passed: false, crossed: 0, layers: 3 }), "");
  assert.equal(passedWords({ passed: true, crossed: 3, layers: 3 }), "gradients pass on fast steps");
  assert.equal(passedWords({ passed: true, crossed: 1, layers: 3 }), "gradients pass on fast steps, in 1 of 3 layers");
});

test("seconds, bytes and what a move would change are short sentences", () => {
  assert.equal(moveWords("slow", 0.0153, 0.0121), "Moving it to slow: a fast step takes 12.1 instead of 15.3 ms (−21 %)");
  assert.equal(moveWords("fast", 0.01, 0.02), "Moving it to fast: a fast step takes 20.0 instead of 10.0 ms (+100 %)");
  assert.equal(moveWords("fast", 0.01, 0.01), "Moving it to fast: a fast step still takes 10.0 ms");
  assert.equal(moveWords("fast", 0, 0.01), "Moving it to fast: a fast step still takes 0.00 ms");
  assert.equal(timeWords({ forward: 0.0123, backward: 1e-6, bytes: 12_300_000 }), "12.3 ms forward, <0.01 ms backward, 12.3 MB kept for the backward pass");
  assert.equal(stepWords(0.001, 0.1234), "A fast step takes about 1.00 ms, a step of SGD 123 ms");
  assert.deepEqual([0, 999, 1000].map(shortBytes), ["0 bytes", "999 bytes", "1.00 kB"]);
  assert.deepEqual([milliseconds(0), milliseconds(0.5, false)], ["0.00 ms", "500"]);
});

// ---- large -----------------------------------------------------------------------------------------------

test("a thousand rows and five thousand nodes are worked out like few", () => {
  const rows = [];
  const nodes = [];
  const entries = {};
  for (let layer = 0; layer < 500; layer++) {
    rows.push(row(`l${layer}`), parameter(`l${layer}.w`, 1));
    entries[`l${layer}`] = { nodes: Array.from({ length: 10 }, (_, step) => 10 * layer + step) };
    for (let step = 0; step < 10; step++) nodes.push([nodes.length ? [nodes.length - 1] : [], 1, 1, step ? [] : [[layer, 1, 1]]]);
  }
  const cost = costOf(nodes, 500, { rows: entries });
  const codes = moveUnits("1".repeat(500), [100], 0);
  const { reach } = reachIn(rows, cost, codes);
  assert.equal(reach.crossed, 400);
  assert.equal(seconds(cost, codes), 4000 + 3999 + 1);
});
