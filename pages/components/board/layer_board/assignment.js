// Which parameter is in which group: strings of one base-36 character per parameter, never changed in place.

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";
const HISTORY_LENGTH = 200;

export const groupOf = (code) => DIGITS.indexOf(code);

/** The parameters at or below a node that are in this group, as positions in `codes`. */
export function unitsIn(node, codes, group) {
  return node.units.filter((unit) => groupOf(codes[unit]) === group);
}

/** `codes` with these parameters in this group. */
export function moveUnits(codes, units, group) {
  const next = [...codes];
  for (const unit of units) next[unit] = DIGITS[group];
  return next.join("");
}

/** Per node and group: how many parameters (tensors), how many numbers in them, how many tied guests. */
export function tally(tree, codes, groupCount) {
  const parts = new Map();
  const zeros = () => new Array(groupCount).fill(0);
  const visit = (node) => {
    const part = { units: zeros(), params: zeros(), guests: zeros() };
    if (node.unit) {
      part.units[groupOf(codes[node.units[0]])] = 1;
      part.params[groupOf(codes[node.units[0]])] = node.params;
    }
    for (const child of node.children) addTo(part, visit(child));
    for (const unit of node.guests) part.guests[groupOf(codes[unit])] = 1;
    parts.set(node, part);
    return part;
  };
  const total = { units: zeros(), params: zeros(), guests: zeros() };
  for (const root of tree.roots) addTo(total, visit(root));
  return { parts, total };
}

function addTo(sum, part) {
  for (let group = 0; group < sum.units.length; group++) {
    sum.units[group] += part.units[group];
    sum.params[group] += part.params[group];
  }
}

// ---- history -------------------------------------------------------------------------------------------

export const startHistory = (codes) => ({ past: [], present: codes, future: [] });

export function record(history, codes) {
  if (codes === history.present) return history;
  return { past: [...history.past, history.present].slice(-HISTORY_LENGTH), present: codes, future: [] };
}

export function undo({ past, present, future }) {
  if (!past.length) return { past, present, future };
  return { past: past.slice(0, -1), present: past.at(-1), future: [present, ...future] };
}

export function redo({ past, present, future }) {
  if (!future.length) return { past, present, future };
  return { past: [...past, present], present: future[0], future: future.slice(1) };
}

// ---- agreeing with Python ------------------------------------------------------------------------------

/**
 * The state after Python said `assign`.
 *
 * Python sends a *seed*: codes under a new stamp, when it has something to say (first run, preset, other
 * model). What the user drags afterwards builds on that seed and is newer, so a seed that is already known
 * changes nothing; a new one wins over everything, and can be undone. States that name a group which is gone, or are
 * of another network, are forgotten.
 */
export function receive(state, assign, groupCount) {
  if (state?.base === assign.stamp) return state;
  const fits = (codes) => codes.length === assign.codes.length && [...codes].every((code) => groupOf(code) < groupCount);
  if (!state || !fits(state.history.present)) return { base: assign.stamp, history: startHistory(assign.codes) };
  const { past, present, future } = state.history;
  const history = record({ past: past.filter(fits), present, future: future.filter(fits) }, assign.codes);
  return { base: assign.stamp, history };
}

/** The stamp of a drop: the seed that it builds on, so that Python can tell an overtaken drop from a new one. */
export const dropStamp = (base, board, count) => `${base}/${board}.${count}`;
