// The board by keyboard alone.

import { rowKey } from "./rows.js";

/** Keys of a row. Returns whether the key was ours. */
export function onRowKey(board, event) {
  const element = event.target.closest(".row");
  if (!element) return false;
  const pane = board.panes[Number(element.closest(".pane").dataset.group)];
  const index = pane.indexOf(element.dataset.id);
  if (index < 0) return false;
  const here = { board, pane, index, row: pane.rows[index], event };
  return event.ctrlKey || event.metaKey ? controlKey(here) : !event.altKey && plainKey(here);
}

/** Undo and redo, anywhere on the board but in a text field, which has its own. */
export function onBoardKey(board, event) {
  if (!(event.ctrlKey || event.metaKey) || event.target.matches("input[type=search]")) return false;
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) board.redo();
  else if (key === "z") board.undo();
  else return false;
  return true;
}

function controlKey({ board, pane, event }) {
  if (event.key.toLowerCase() !== "a") return false;
  board.selectAll(pane.group);
  return true;
}

function plainKey(here) {
  const { board, pane, index, row, event } = here;
  const page = Math.max(1, Math.floor(pane.view / board.rowHeight) - 2);
  const to = targetGroup(event.key);
  if (to !== null) return moveByKey(here, to);
  switch (event.key) {
    case "ArrowDown": return step(here, index + 1);
    case "ArrowUp": return step(here, index - 1);
    case "PageDown": return step(here, index + page);
    case "PageUp": return step(here, index - page);
    case "Home": return step(here, 0);
    case "End": return step(here, pane.rows.length - 1);
    case "ArrowRight": return openOrEnter(here);
    case "ArrowLeft": return closeOrLeave(here);
    case "Enter": return row.openable && toggle(here);
    case " ": board.select(pane.group, row.node.id, { add: true }); return true;
    case "Escape": return clear(here);
    default: return false;
  }
}

/** F is the first group, S the second, 1 to 9 the n-th. */
function targetGroup(key) {
  if (/^[1-9]$/.test(key)) return Number(key) - 1;
  return { f: 0, s: 1 }[key.toLowerCase()] ?? null;
}

/** Go to a row; with shift, select on the way. */
function step({ board, pane, index, event }, target) {
  const to = pane.rows[Math.max(0, Math.min(pane.rows.length - 1, target))];
  if (event.shiftKey) {
    if (!board.selection.size) board.anchor = rowKey(pane.group, pane.rows[index].node.id);
    board.select(pane.group, to.node.id, { range: true });
  }
  pane.activate(to.node.id, true);
  return true;
}

function openOrEnter(here) {
  if (here.row.openable && !here.row.open) return toggle(here);
  return here.row.openable ? step(here, here.index + 1) : true;
}

function closeOrLeave(here) {
  const { board, pane, row } = here;
  if (row.openable && row.open && board.memory.open.has(row.node.id)) return toggle(here);
  const around = pane.nearest(row.node.parent);
  if (around) pane.activate(around.id, true);
  return true;
}

function clear({ board }) {
  board.clearSelection();
  board.refresh();
  return true;
}

function toggle({ board, row }) {
  board.toggle(row.node.id);
  return true;
}

/** Move the selection, or this row. The keyboard stays in this pane; from an empty one it goes along. */
function moveByKey({ board, pane, row }, to) {
  const keys = board.selection.size ? [...board.selection] : [rowKey(pane.group, row.node.id)];
  if (!board.move(keys, to)) {
    const name = board.data.groups[to]?.name;
    board.announce(name ? `Nothing to move to ${name}` : `There is no group ${to + 1}`);
    return true;
  }
  if (!pane.rows.length) board.panes[to].activate(row.node.id, true);
  return true;
}
