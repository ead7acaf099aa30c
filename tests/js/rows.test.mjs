import assert from "node:assert/strict";
import { test } from "node:test";

import { tally } from "../../pages/components/board/layer_board/assignment.js";
import { percent, plural, shortCount } from "../../pages/components/board/layer_board/format.js";
import { globPattern, keysBetween, parseFilter, rowKey, splitKey, visibleRows } from "../../pages/components/board/layer_board/rows.js";
import { buildTree, rowName } from "../../pages/components/board/layer_board/tree.js";
import { blocks, parameter, row } from "./trees.mjs";

function shown(group, { codes = "111111100", open = [], filter = "", hideBare = true, fold = true, rows = blocks() } = {}) {
  const tree = buildTree(rows, fold);
  const { parts } = tally(tree, codes, 3);
  return visibleRows({ tree, parts, group, open: new Set(open), filter: parseFilter(filter), hideBare });
}

const ids = (rows) => rows.map((each) => each.node.id);

test("each pane shows the layers that have parameters in its group, in architecture order", () => {
  assert.deepEqual(ids(shown(0)), ["head"]);
  assert.deepEqual(ids(shown(1)), ["token", "stem", "body"]);
  assert.deepEqual(ids(shown(2)), []);
  assert.deepEqual(ids(shown(0, { codes: "110111101" })), ["body", "head"]);
});

test("closed blocks hide what is below, open ones show it", () => {
  assert.deepEqual(ids(shown(1, { open: ["body"] })), ["token", "stem", "body", "body.0", "fold:body.1"]);
  assert.deepEqual(ids(shown(1, { open: ["body"], fold: false })).length, 8);
});

test("a folded run names only the members that are in the pane", () => {
  const rows = shown(0, { codes: "111011000", open: ["body"] });
  const fold = rows.find((each) => each.node.members);
  assert.equal(rowName(fold.node, fold.members), "1…4");
  assert.equal(fold.members.length, 2);
});

test("a fold with one member left in the pane is that member, one level up", () => {
  const rows = shown(0, { codes: "111011100", open: ["body"] });
  assert.deepEqual(ids(rows), ["body", "body.1", "head"]);
  assert.deepEqual(rows.map((each) => each.depth), [0, 1, 0]);
});

test("layers without parameters stand beside their siblings once they are asked for", () => {
  const open = ["body", "body.0"];
  assert.ok(!ids(shown(1, { open })).includes("body.0.relu"));
  assert.ok(ids(shown(1, { open, hideBare: false })).includes("body.0.relu"));
  assert.ok(!ids(shown(0, { open, hideBare: false })).includes("body.0.relu"));
});

test("a tied layer is shown in the group of the parameter that it shares", () => {
  const rows = [row("embed"), parameter("embed.weight", 8), row("decoder"), row("decoder.weight", { tied: "embed.weight", note: "tied" })];
  assert.deepEqual(ids(shown(1, { rows, codes: "1" })), ["embed", "decoder"]);
  assert.deepEqual(ids(shown(0, { rows, codes: "1" })), []);
});

test("the filter finds names and types, and shows the way to them", () => {
  assert.deepEqual(ids(shown(1, { filter: "CONV2D" })), ["stem", "body", "body.0", "body.0.conv", "fold:body.1", "body.1", "body.1.conv", "body.2", "body.2.conv", "body.3", "body.3.conv", "body.4", "body.4.conv"]);
  assert.deepEqual(ids(shown(0, { filter: "bias" })), ["head", "head.bias"]);
  assert.deepEqual(ids(shown(1, { filter: "nothing like it" })), []);
});

test("only the topmost matches count as hits", () => {
  const hits = shown(1, { filter: "body" }).filter((each) => each.hit);
  assert.deepEqual(ids(hits), ["body"]);
  const folded = shown(1, { filter: "block" }).filter((each) => each.hit);
  assert.deepEqual(ids(folded), ["body.0", "fold:body.1"]);
});

test("a glob speaks of whole names, and its star crosses dots", () => {
  assert.ok(globPattern("layer?.*.bias").test("layer3.0.bn1.bias"));
  assert.ok(!globPattern("layer?.*.bias").test("layer10.0.bias"));
  assert.ok(!globPattern("*.bias").test("head.bias.more"));
  assert.ok(globPattern("layer[12].w").test("layer2.w"));
  assert.ok(!globPattern("layer[!12].w").test("layer2.w"));
  assert.ok(globPattern("a+(b).[").test("a+(b).["));
  assert.deepEqual(ids(shown(0, { filter: "*.bias" }).filter((each) => each.hit)), ["head.bias"]);
});

test("a parameter is not found by the word parameter", () => {
  assert.deepEqual(ids(shown(1, { filter: "parameter" })), []);
});

test("rows tell a screen reader their place among their siblings", () => {
  const rows = shown(1, { open: ["body"] });
  assert.deepEqual(rows.map((each) => `${each.position}/${each.size}`), ["1/3", "2/3", "3/3", "1/2", "2/2"]);
});

test("selection keys survive names with bars and colons", () => {
  assert.deepEqual(splitKey(rowKey(12, "a|b:c")), { group: 12, id: "a|b:c" });
});

test("a range goes both ways and falls back to its end", () => {
  const rows = shown(1);
  assert.deepEqual(keysBetween(rows, "1|body", "1|token"), ["1|token", "1|stem", "1|body"]);
  assert.deepEqual(keysBetween(rows, "1|gone", "1|stem"), ["1|stem"]);
});

test("numbers are short and honest", () => {
  assert.deepEqual([0, 999, 1000, 25557032, 9.999e6, 1.2e9].map(shortCount), ["0", "999", "1.00 k", "25.6 M", "10.0 M", "1.20 G"]);
  assert.deepEqual([percent(0, 9), percent(1, 1e6), percent(34, 1000), percent(9999, 10000), percent(1, 0)], ["–", "<0.1 %", "3.4 %", "100 %", "–"]);
  assert.deepEqual([plural(1, "row"), plural(2, "row"), plural(0, "match", "matches")], ["1 row", "2 rows", "0 matches"]);
});
