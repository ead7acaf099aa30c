// The layer tree as the board shows it: plain data, no DOM.

/** Runs of equal siblings shorter than this are not folded. */
const SHORTEST_FOLD = 3;

/**
 * Nodes from rows in architecture order, parents before children.
 *
 * A node is its row plus: parent, children, members (folded siblings, or null), units and guests.
 * `units` are the positions, in the assignment, of all parameters at or below the node; `guests` those of
 * parameters that live elsewhere and are only tied to something at or below it.
 */
export function buildTree(rows, fold) {
  const nodes = new Map();
  const roots = [];
  let unitCount = 0;
  for (const row of rows) {
    const parent = nodes.get(row.parent) ?? null;
    const units = row.unit ? [unitCount++] : [];
    const node = { ...row, parent, children: [], members: null, units, guests: [] };
    nodes.set(node.id, node);
    (parent ? parent.children : roots).push(node);
  }
  const tree = { nodes, roots: fold ? foldRuns(roots, null, nodes) : roots, unitCount };
  for (const root of tree.roots) settle(root, nodes);
  return tree;
}

/** Siblings with every long enough run of equal signatures replaced by one fold node. */
function foldRuns(siblings, parent, nodes) {
  for (const node of siblings) node.children = foldRuns(node.children, node, nodes);
  return runsOf(siblings).flatMap((run) => {
    if (run.length < SHORTEST_FOLD) return run;
    const fold = foldNode(run, parent);
    nodes.set(fold.id, fold);
    for (const member of run) member.parent = fold;
    return [fold];
  });
}

/** Siblings cut into runs of consecutive equal signatures; a node without one is a run of its own. */
function runsOf(siblings) {
  const runs = [];
  for (const node of siblings) {
    const run = runs.at(-1);
    if (node.fold && run?.[0].fold === node.fold) run.push(node);
    else runs.push([node]);
  }
  return runs;
}

function foldNode(members, parent) {
  const sum = (field) => members.reduce((total, member) => total + member[field], 0);
  return {
    id: `fold:${members[0].id}`, parent, children: members, members, units: [], guests: [],
    name: "", kind: members[0].kind, params: sum("params"), madds: sum("madds"),
    shape: members.at(-1).shape, unit: false, fold: "", note: "",
  };
}

/** Fill in, bottom up, what a node knows about everything below it. */
function settle(node, nodes) {
  for (const child of node.children) settle(child, nodes);
  const below = (field) => node.children.flatMap((child) => child[field]);
  const home = node.tied ? nodes.get(node.tied) : null;
  node.units = [...node.units, ...below("units")];
  node.guests = [...(home?.unit ? home.units : []), ...below("guests")];
  node.noted = Boolean(node.note) || node.children.some((child) => child.noted);
}

/** Names on the way from the root, for people: a folded run is "1…22". */
export function rowName(node, members) {
  if (!members) return node.name;
  return members.length === 1 ? members[0].name : `${members[0].name}…${members.at(-1).name}`;
}

/** The id that a row is announced and searched by; a folded run speaks for its first and last member. */
export function rowPath(node) {
  return node.members ? `${node.members[0].id} to ${node.members.at(-1).name}` : node.id;
}

export const isOpenable = (node) => node.children.length > 0;

/** Ids to open at first: module by module from the top, as long as about `limit` rows are shown. */
export function firstOpen(tree, limit) {
  const open = new Set();
  let shown = tree.roots.length;
  const queue = tree.roots.filter(holdsModules);
  for (let node = queue.shift(); node; node = queue.shift()) {
    shown += node.children.length;
    if (shown > limit) break;
    open.add(node.id);
    queue.push(...node.children.filter(holdsModules));
  }
  return open;
}

const holdsModules = (node) => !node.members && node.children.some((child) => isOpenable(child));
