// What a fast step costs: the autograd graph and its seconds as Python sent them. Plain data, no DOM.

import { groupOf } from "./assignment.js";

/** Per parameter whether it gets a gradient on a fast step: whether its group has period 1. */
export function fastUnits(codes, groups) {
  return Uint8Array.from(codes, (code) => Number(groups[groupOf(code)]?.period === 1));
}

// Nodes are read by { 0: inputs } and not by [inputs]: the first drop, on cold code, takes a tenth of the time so.

/** Per graph node whether autograd runs it on a fast step. Every node comes after its inputs. */
export function neededNodes(cost, fast) {
  const needed = new Uint8Array(cost.nodes.length);
  cost.nodes.forEach(({ 0: inputs, 3: units }, place) => {
    needed[place] = Number(goesOn(inputs, needed) || units.some(({ 0: unit }) => fast[unit]));
  });
  return needed;
}

/** Whether the backward pass goes on below a node. */
const goesOn = (inputs, needed) => inputs.some((input) => needed[input]);

/** Seconds of a fast step. */
export function fastStepSeconds(cost, fast, needed = neededNodes(cost, fast)) {
  let backward = 0;
  cost.nodes.forEach((node, place) => {
    if (needed[place]) backward += nodeSeconds(node, fast, needed);
  });
  const updates = cost.unit_s.reduce((sum, seconds, unit) => sum + (fast[unit] ? seconds : 0), 0);
  return cost.base_s + backward + updates;
}

/** A gradient that is computed beside the one that goes on below costs less than one for which the node runs alone. */
function nodeSeconds({ 0: inputs, 1: through, 2: extra, 3: units }, fast, needed) {
  const below = goesOn(inputs, needed);
  let seconds = extra + (below ? through : 0);
  for (const { 0: unit, 1: beside, 2: alone } of units) {
    if (fast[unit]) seconds += below ? beside : alone;
  }
  return seconds;
}

/** What Python said about a row, or undefined: parameters have no entry. */
export function entryOf(cost, id) {
  return Object.hasOwn(cost.rows, id) ? cost.rows[id] : undefined;    // a module may be called "constructor"
}

/** Seconds and bytes of a row in a step of SGD, of a folded run those of its members; null where none are known. */
export function rowCost(cost, { node, members }) {
  const entries = (members ?? [node]).map(({ id }) => entryOf(cost, id)).filter(Boolean);
  if (!cost.measured || !entries.length) return null;
  const sum = (field) => entries.reduce((total, entry) => total + entry[field], 0);
  return { forward: sum("forward_s"), backward: sum("backward_s"), bytes: sum("saved_bytes") };
}

/** The group that changes what a fast step costs: from a slow one the first fast one, else the first slow one; or -1. */
export function moveTarget(groups, from) {
  const isFast = ({ period }) => period === 1;
  return groups.findIndex((group) => isFast(group) !== isFast(groups[from]));
}
