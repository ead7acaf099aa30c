// Entry: one board per mounted element, wired to the browser's events.

import { Board } from "./board.js";
import { Drag } from "./drag.js";
import { onBoardKey, onRowKey } from "./keyboard.js";
import { openMenu } from "./menu.js";
import { rowKey } from "./rows.js";

const MOUNTED = new WeakMap();

/** Streamlit calls this at mount and whenever data or theme changed; what it returns, at unmount. */
export default function mount({ parentElement, data: [data], setStateValue }) {
  if (!MOUNTED.has(parentElement)) MOUNTED.set(parentElement, wire(parentElement.querySelector(".board")));
  MOUNTED.get(parentElement).board.update(data, setStateValue);
  return () => {
    MOUNTED.get(parentElement)?.unwire();
    MOUNTED.delete(parentElement);
  };
}

function wire(root) {
  const board = new Board(root);
  const drag = new Drag(board);
  const stop = new AbortController();
  const listen = (target, name, act, options) => target.addEventListener(name, act, { ...options, signal: stop.signal });
  const bar = root.querySelector(".bar");
  listen(bar, "click", (event) => onTool(board, event));
  listen(root.querySelector(".filter"), "input", (event) => board.setFilter(event.target.value));
  listen(root.querySelector(".fold"), "change", () => board.refold());
  listen(root.querySelector(".bare"), "change", () => board.refresh());
  listen(root.querySelector(".panes"), "click", (event) => drag.justDropped || onPaneClick(board, event));
  listen(root, "keydown", (event) => (onRowKey(board, event) || onBoardKey(board, event)) && swallow(event));
  listen(root, "pointerdown", (event) => drag.down(event));
  listen(root, "pointermove", (event) => drag.move(event));
  listen(root, "pointerup", (event) => drag.up(event));
  listen(root, "pointercancel", () => drag.cancel());
  listen(window, "keydown", (event) => {
    if (event.key !== "Escape" || !drag.moving) return;
    drag.cancel();
    swallow(event);
  }, { capture: true });
  return { board, unwire: () => { drag.cancel(); stop.abort(); board.closePanes(); } };
}

/** A key that we used must not reach Streamlit's own shortcuts. */
function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}

function onTool(board, event) {
  const button = event.target.closest("[data-act]");
  const acts = {
    match: () => board.selectMatches(),
    undo: () => board.undo(),
    redo: () => board.redo(),
    expand: () => board.openAll(true),
    collapse: () => board.openAll(false),
    help: () => board.root.querySelector(".help").togglePopover(),
  };
  acts[button?.dataset.act]?.();
}

function onPaneClick(board, event) {
  const group = Number(event.target.closest(".pane")?.dataset.group);
  if (event.target.closest(".here")) return void board.move([...board.selection], group);
  const row = event.target.closest(".row");
  if (!row) return;
  const { id } = row.dataset;
  if (event.target.closest(".move")) return moveByButton(board, event.target, group, id);
  if (event.target.closest(".twist") && row.hasAttribute("aria-expanded")) board.toggle(id);
  else board.select(group, id, { range: event.shiftKey, add: event.ctrlKey || event.metaKey || event.pointerType === "touch" });
  if (board.panes[group].indexOf(id) >= 0) board.panes[group].activate(id, true);
}

/** With two groups straight to the other one, with more by a menu. */
function moveByButton(board, button, group, id) {
  const keys = [rowKey(group, id)];
  if (board.panes.length === 2) board.move(keys, 1 - group);
  else openMenu(board, button, group, (to) => board.move(keys, to));
}
