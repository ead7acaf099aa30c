// Dragging rows by pointer: mouse and pen anywhere on a row, touch on the grip, so that a finger still scrolls.

import { rowKey, splitKey } from "./rows.js";
import { plural } from "./format.js";

const START_PX = 5;         // a shorter way is a click
const EDGE_PX = 36;         // scroll a pane when the pointer is this near to its top or bottom
const PAGE_EDGE_PX = 56;    // scroll the page when it is this near to the window's
const SPEED_PX = 9;         // per frame

export class Drag {
  constructor(board) {
    this.board = board;
    this.root = board.root;
    this.ghost = board.root.querySelector(".ghost");
    this.grab = null;       // { pointer, group, id, keys, x, y, from: {x, y}, moving, over }
  }

  get moving() {
    return Boolean(this.grab?.moving);
  }

  down(event) {
    const row = event.target.closest(".row");
    if (!row || event.button !== 0 || event.target.closest(".move, .twist") || this.board.disabled) return;
    if (event.pointerType === "touch" && !event.target.closest(".grip")) return;
    const group = Number(row.closest(".pane").dataset.group);
    const at = { x: event.clientX, y: event.clientY };
    this.grab = { pointer: event.pointerId, group, id: row.dataset.id, from: at, ...at, moving: false, over: null };
  }

  move(event) {
    const { grab } = this;
    if (!grab || event.pointerId !== grab.pointer) return;
    if (!(event.buttons & 1)) return this.cancel();
    grab.x = event.clientX;
    grab.y = event.clientY;
    const way = Math.hypot(grab.x - grab.from.x, grab.y - grab.from.y);
    if (!grab.moving && way >= START_PX) this.start();
    if (grab.moving) this.follow();
  }

  start() {
    const { board, grab } = this;
    const key = rowKey(grab.group, grab.id);
    grab.keys = board.selection.has(key) ? [...board.selection] : [key];
    const units = board.unitsOfKeys(grab.keys, -1);
    if (!units.length) return this.cancel();
    grab.moving = true;
    this.root.setPointerCapture(grab.pointer);
    this.root.classList.add("dragging");
    board.panes[grab.group].activate(grab.id, true);    // an active row stays in the document while the pane scrolls
    const rows = board.spokenKeys(grab.keys.map((dragged) => splitKey(dragged).id));
    this.ghost.textContent = `${rows} · ${plural(units.length, "tensor")}`;
    this.ghost.showPopover();
    requestAnimationFrame(() => this.scrollNearEdges());
  }

  /** Show where the drop would go. */
  follow() {
    const { grab } = this;
    this.ghost.style.transform = `translate(${grab.x + 14}px, ${grab.y + 10}px)`;
    grab.over = this.board.panes.findIndex((pane) => isInside(pane.section.getBoundingClientRect(), grab));
    for (const pane of this.board.panes) {
      const changes = pane.group === grab.over && this.board.unitsOfKeys(grab.keys, pane.group).length > 0;
      pane.section.classList.toggle("over", changes);
    }
  }

  up(event) {
    const { grab } = this;
    if (!grab || event.pointerId !== grab.pointer) return;
    this.cancel();
    if (!grab.moving) return;
    this.justDropped = true;            // the click that the browser sends next belongs to the drag
    setTimeout(() => { this.justDropped = false; });
    if (grab.over >= 0) this.board.move(grab.keys, grab.over);
  }

  cancel() {
    const { grab } = this;
    this.grab = null;
    if (!grab?.moving) return;
    if (this.root.hasPointerCapture(grab.pointer)) this.root.releasePointerCapture(grab.pointer);
    this.root.classList.remove("dragging");
    for (const pane of this.board.panes) pane.section.classList.remove("over");
    this.ghost.hidePopover();
  }

  /** Once per frame while dragging: the pane under the pointer first, the page at the window's edges. */
  scrollNearEdges() {
    const { grab } = this;
    if (!grab?.moving) return;
    const scroller = scrollingAncestor(this.root);
    const view = visibleBox(scroller);
    const pane = this.board.panes[grab.over]?.scroll;
    const box = pane?.getBoundingClientRect();
    const inPane = pane && nudge(pane, grab.y, Math.max(box.top, view.top), Math.min(box.bottom, view.bottom), EDGE_PX);
    if (inPane || nudge(scroller, grab.y, view.top, view.bottom, PAGE_EDGE_PX)) this.follow();
    requestAnimationFrame(() => this.scrollNearEdges());
  }
}

const isInside = (box, { x, y }) => x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;

/** Scroll `element` if `y` is near `top` or `bottom`; tells whether it moved. */
function nudge(element, y, top, bottom, edge) {
  const before = element.scrollTop;
  if (y < top + edge) element.scrollTop -= SPEED_PX;
  else if (y > bottom - edge) element.scrollTop += SPEED_PX;
  return element.scrollTop !== before;
}

/** The part of the window in which `scroller` shows its content. */
function visibleBox(scroller) {
  if (scroller === document.scrollingElement) return { top: 0, bottom: window.innerHeight };
  const { top, bottom } = scroller.getBoundingClientRect();
  return { top: Math.max(top, 0), bottom: Math.min(bottom, window.innerHeight) };
}

/** What scrolls the board: Streamlit scrolls a section of its page, not the window. */
function scrollingAncestor(element) {
  for (let node = element; node; node = node.parentNode ?? node.host) {
    if (!(node instanceof Element) || node.scrollHeight <= node.clientHeight) continue;
    if (/auto|scroll/.test(getComputedStyle(node).overflowY)) return node;
  }
  return document.scrollingElement;
}
