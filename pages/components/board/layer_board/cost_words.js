// Sentences about cost and reach.

import { milliseconds, plural, shortBytes } from "./format.js";
import { rowPath } from "./tree.js";

/** How far gradients travel on a fast step. */
export function reachWords(groups, fast, { crossed, layers, earliest }) {
  if (groups.every(({ period }) => period > 1)) return "Fast steps: no group is updated at every step";
  if (!fast.includes(1)) return "Fast steps: no layer is updated at every step";
  const way = earliest ? `, back to ${rowPath(earliest)}` : "";
  return `Fast steps: gradients cross ${crossed} of ${plural(layers, "layer")}${way}`;
}

/** What a screen reader is told of a row; "" where gradients do not come. */
export function passedWords({ passed, crossed, layers }) {
  if (!passed) return "";
  const part = crossed && crossed < layers ? `, in ${crossed} of ${layers} layers` : "";
  return `gradients pass on fast steps${part}`;
}

export function stepWords(fastSeconds, sgdSeconds) {
  return `A fast step takes about ${milliseconds(fastSeconds)}, a step of SGD ${milliseconds(sgdSeconds)}`;
}

/** What a row takes in a step of SGD. */
export function timeWords({ forward, backward, bytes }) {
  return `${milliseconds(forward)} forward, ${milliseconds(backward)} backward, ${shortBytes(bytes)} kept for the backward pass`;
}

/** What moving something to a group does to a fast step. */
export function moveWords(name, before, after) {
  const change = before > 0 ? Math.round(100 * (after / before - 1)) : 0;
  const start = `Moving it to ${name}: a fast step`;
  if (!change) return `${start} still takes ${milliseconds(before)}`;
  const sign = change < 0 ? "−" : "+";
  return `${start} takes ${milliseconds(after, false)} instead of ${milliseconds(before)} (${sign}${Math.abs(change)} %)`;
}
