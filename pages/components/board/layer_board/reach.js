// How far back gradients travel on a fast step, row by row. Plain data, no DOM.

import { entryOf } from "./cost.js";

const isParameter = (node) => node.unit || Boolean(node.tied) || node.kind === "parameter";

/** The graph nodes of every row: those that a module's own code made, or that compute a parameter's gradient. */
export function nodesOfRows(cost, tree) {
  const users = usersOfUnits(cost);
  const own = (node) => entryOf(cost, node.id)?.nodes ?? [];
  const ofRow = (node) => (isParameter(node) ? parameterNodes(users, node, node.parent ? own(node.parent) : []) : own(node));
  return new Map([...tree.nodes.values()].map((node) => [node, ofRow(node)]));
}

/** Per parameter the graph nodes that compute its gradient: several where a weight is used twice. */
function usersOfUnits(cost) {
  const users = new Map();
  cost.nodes.forEach(({ 3: units }, place) => {
    for (const { 0: unit } of units) users.set(unit, [...(users.get(unit) ?? []), place]);
  });
  return users;
}

/** Where its own module uses a parameter; where only others do, there. */
function parameterNodes(users, node, around) {
  const places = users.get(node.unit ? node.units[0] : node.guests[0]) ?? [];
  const here = places.filter((place) => around.includes(place));
  return here.length ? here : places;
}

const NOT_HERE = { passed: false, crossed: 0, layers: 0 };

/**
 * What gradients pass: { rows, crossed, layers, earliest }.
 *
 * `rows` has, per row a list over the groups: whether gradients pass the row, and how many of its layers they cross, of
 * all of them. Only what the row shows in that group's pane counts. A layer is a module without modules below that is in
 * the graph. `earliest` is the row where gradients stop.
 */
export function reachOf(tree, nodesOf, needed, parts) {
  const reach = { rows: new Map(), crossed: 0, layers: 0, earliest: earliestRow(nodesOf, needed) };
  for (const root of tree.roots) settleReach(root, { nodesOf, needed, parts, reach });
  return reach;
}

function settleReach(node, around) {
  const below = node.children.map((child) => settleReach(child, around));
  const places = around.nodesOf.get(node);
  const own = {
    passed: places.some((place) => around.needed[place]),
    isLayer: places.length > 0 && !isParameter(node) && node.children.every(isParameter),
  };
  around.reach.layers += Number(own.isLayer);
  around.reach.crossed += Number(own.isLayer && own.passed);
  const groups = around.parts.get(node).units.map((_, group) => {
    return isIn(node, group, around.parts) ? groupReach(own, below.map((each) => each[group])) : NOT_HERE;
  });
  around.reach.rows.set(node, groups);
  return groups;
}

function groupReach({ passed, isLayer }, below) {
  const sum = (field) => below.reduce((total, each) => total + each[field], 0);
  return {
    passed: passed || below.some((each) => each.passed),
    crossed: sum("crossed") + Number(isLayer && passed),
    layers: sum("layers") + Number(isLayer),
  };
}

/** A row is in the groups of its parameters; one without any is wherever the block around it is. */
function isIn(node, group, parts) {
  if (!node.units.length && !node.guests.length) return true;
  const { units, guests } = parts.get(node);
  return units[group] + guests[group] > 0;
}

/** Whose the first needed node of the graph is: a module, or a parameter that no module of the board uses. */
function earliestRow(nodesOf, needed) {
  const place = needed.indexOf(1);
  const owners = [...nodesOf.keys()].filter((node) => nodesOf.get(node).includes(place));
  return owners.find((node) => !isParameter(node)) ?? owners[0] ?? null;
}

/**
 * The shown row above which gradients stop in a pane, or null.
 *
 * Not an open block whose first layers are left out: the line belongs below those.
 */
export function stopRow(shown, isPassed) {
  const isOpen = (index) => index + 1 < shown.length && shown[index + 1].depth > shown[index].depth;
  let index = shown.findIndex((row, place) => !isOpen(place) && isPassed(row));
  if (index < 0) return null;
  while (index > 0 && shown[index - 1].depth < shown[index].depth) index -= 1;
  return shown[index];
}
