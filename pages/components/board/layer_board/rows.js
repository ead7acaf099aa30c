// Which rows a pane shows: filter, folding state and the "hide layers without parameters" switch.

/** A test for nodes from the filter text, or null for an empty one. */
export function parseFilter(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const glob = /[*?[]/.test(wanted) ? globPattern(wanted) : null;
  const fits = glob ? (value) => glob.test(value) : (value) => value.toLowerCase().includes(wanted);
  const test = (node) => {
    if (node.members) return node.members.every(test);
    return fits(node.id) || (!node.unit && fits(node.kind));
  };
  return test;
}

/** A glob over whole names: `*` crosses dots, `?` is any one character, `[abc]` and `[!abc]` are sets. */
export function globPattern(glob) {
  const parts = glob.match(/\[!?[^\]]+\]|[\s\S]/g) ?? [];
  const source = parts.map((part) => {
    if (part === "*") return ".*";
    if (part === "?") return ".";
    if (part.length > 2 && part[0] === "[") return characterSet(part);
    return escapeRegExp(part);
  });
  return new RegExp(`^${source.join("")}$`, "is");
}

function characterSet(part) {
  const inner = part.slice(1, -1);
  return inner[0] === "!" ? `[^${escapeSet(inner.slice(1))}]` : `[${escapeSet(inner)}]`;
}

const escapeSet = (text) => text.replace(/[\\\]^[]/g, "\\$&");
const escapeRegExp = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

/**
 * The rows of one pane, top to bottom: { node, group, part, members, depth, open, openable, hit, position, size }.
 *
 * view: { tree, parts, group, open: Set of ids, filter: test or null, hideBare: boolean }
 */
export function visibleRows(view) {
  return siblingRows(view.tree.roots, view, { inside: !view.filter, depth: 0 });
}

function siblingRows(siblings, view, at) {
  const families = siblings.map((node) => familyRows(node, view, at)).filter((rows) => rows.length);
  families.forEach((rows, index) => Object.assign(rows[0], { position: index + 1, size: families.length }));
  return families.flat();
}

/** A node's row and those below it. A match shows what is open below it; others only lead to matches. */
function familyRows(node, view, { inside, depth }) {
  if (!isShown(node, view)) return [];
  const members = node.members?.filter((member) => isShown(member, view)) ?? null;
  if (members?.length === 1) return familyRows(members[0], view, { inside, depth });     // nothing to fold here
  const hit = inside || view.filter(node);
  const open = !hit || view.open.has(node.id);
  const below = open ? siblingRows(node.children, view, { inside: hit, depth: depth + 1 }) : [];
  if (!hit && !below.length) return [];
  const openable = node.children.some((child) => isShown(child, view));
  const row = { node, group: view.group, part: view.parts.get(node), members, depth, open, openable };
  return [{ ...row, hit: hit && !inside }, ...below];
}

/** A layer is shown where its parameters are; one without any stands beside its siblings, or is hidden. */
function isShown(node, view) {
  if (node.units.length || node.guests.length) {
    const part = view.parts.get(node);
    return part.units[view.group] + part.guests[view.group] > 0;
  }
  if (view.hideBare && !node.noted) return false;
  return node.parent ? isShown(node.parent, view) : view.group === 0;
}

// ---- selection: keys "group|id" ------------------------------------------------------------------------

export const rowKey = (group, id) => `${group}|${id}`;

export function splitKey(key) {
  const bar = key.indexOf("|");
  return { group: Number(key.slice(0, bar)), id: key.slice(bar + 1) };
}

/** The keys from one row to another of the same pane, both included. */
export function keysBetween(rows, from, to) {
  const keys = rows.map((row) => rowKey(row.group, row.node.id));
  const ends = [keys.indexOf(from), keys.indexOf(to)].sort((a, b) => a - b);
  return ends[0] < 0 ? [to] : keys.slice(ends[0], ends[1] + 1);
}
