// One pane: the rows of one group. Only the rows in sight are in the document.

import { rowName, rowPath } from "./tree.js";
import { rowKey } from "./rows.js";
import { everyStep, percent, plural, shortCount } from "./format.js";

const MARGIN_ROWS = 8;      // rendered above and below what is in sight, so that scrolling shows no gap
const TINTS = 6;            // colours in the style sheet; more groups than that repeat them

export class Pane {
  constructor(board, group) {
    this.board = board;
    this.group = group;
    this.rows = [];
    this.elements = new Map();
    this.gone = [];           // elements without a row, still in the document
    this.activeId = null;
    this.stop = null;         // the row above which gradients stop on a fast step
    this.top = 0;             // pixels that the pane is, or will be, scrolled by
    this.scrolled = 0;        // those that the browser knows of
    this.view = 0;            // heights in pixels, of the pane and of its sticky header
    this.header = 0;
    this.section = board.clone(".pane-template");
    this.section.classList.add(`tint-${group % TINTS}`);
    this.section.dataset.group = group;
    for (const part of ["title", "period", "here", "totals", "scroll", "tree", "empty", "columns"]) {
      this[part] = this.section.querySelector(`.${part}`);
    }
    this.scroll.addEventListener("scroll", () => this.onScroll(), { passive: true });
    this.resizing = new ResizeObserver(() => this.onResize());
    this.resizing.observe(this.scroll);
  }

  /** Let go of a pane that is shown no longer. */
  close() {
    this.resizing.disconnect();
  }

  // Where things are is kept, not asked for: an answer makes the browser lay out the page, for 10 ms and more each time
  // that something was painted since.

  onScroll() {
    this.top = this.scrolled = this.scroll.scrollTop;
    this.paint();
    this.sweep();
  }

  onResize() {
    this.measure();
    this.top = this.scrolled = this.scroll.scrollTop;     // what was hidden may have been scrolled back
    this.paint();
    this.sweep();
  }

  measure() {
    this.view = this.scroll.clientHeight;
    this.header = this.columns.offsetHeight;
  }

  /**
   * Take over these rows; `paint` and `settle` show them. If the active one is gone, the next one below that stayed takes
   * over, or else one above.
   */
  take(rows) {
    const place = this.indexOf(this.activeId);
    const heirs = [...this.rows.slice(Math.max(place, 0)), ...this.rows.slice(0, Math.max(place, 0)).reverse()];
    this.rows = rows;
    this.stop = this.board.costs?.stopOf(rows) ?? null;
    const heir = heirs.find((row) => this.indexOf(row.node.id) >= 0) ?? rows[0];
    this.activeId = heir?.node.id ?? null;
    this.top = Math.max(0, Math.min(this.top, rows.length * this.board.rowHeight + this.header - this.view));
  }

  paintHeader() {
    const { board, group } = this;
    const { name, period } = board.data.groups[group];
    const { params, units } = board.tally.total;
    const all = params.reduce((sum, part) => sum + part, 0);
    this.title.textContent = name;
    this.period.textContent = everyStep(period);
    this.totals.querySelector(".count").textContent = shortCount(params[group]);
    this.totals.querySelector(".share").textContent = ` · ${percent(params[group], all)}`;
    this.totals.title = `${params[group].toLocaleString("en")} numbers in ${plural(units[group], "tensor")}`;
    this.section.setAttribute("aria-label", `Group ${name}, ${everyStep(period)}`);
    const coming = board.unitsOfKeys(board.selection, group).length;
    this.here.hidden = !coming || board.disabled;
    this.here.setAttribute("aria-label", `Move selection to ${name}`);
    this.empty.hidden = this.rows.length > 0;
    this.empty.textContent = units[group] ? "No match in this group" : "Drop layers here";
  }

  /** Bring the rows in sight, and the active one, into the document, in order. */
  paint() {
    const height = this.board.rowHeight;
    this.tree.style.height = `${this.rows.length * height}px`;
    this.describeTree();
    const first = Math.floor(this.top / height) - MARGIN_ROWS;
    const last = first + Math.ceil(this.view / height) + 2 * MARGIN_ROWS;
    const wanted = new Map();
    this.rows.forEach((row, index) => {
      const near = index >= first && index <= last;
      if (near || row.node.id === this.activeId) wanted.set(row.node.id, { row, index });
    });
    for (const id of this.elements.keys()) if (!wanted.has(id)) this.discard(id);
    let next = this.tree.firstChild;
    for (const [id, { row, index }] of wanted) {
      const element = this.elements.get(id) ?? this.createRow(id, next);
      this.paintRow(element, row, index * height);
      next = element.nextSibling;
    }
  }

  /** A tree without items is no tree for a screen reader. */
  describeTree() {
    const { tree, rows, board } = this;
    if (!rows.length) {
      for (const name of ["role", "aria-label", "aria-multiselectable"]) tree.removeAttribute(name);
      return;
    }
    tree.setAttribute("role", "tree");
    tree.setAttribute("aria-label", `Layers in ${board.data.groups[this.group].name}`);
    tree.setAttribute("aria-multiselectable", "true");
  }

  createRow(id, next) {
    const element = this.board.clone(".row-template");
    element.setAttribute("role", "treeitem");
    element.dataset.id = id;
    element.addEventListener("animationend", () => element.classList.remove("flash"));
    for (const name of ["pointerenter", "focus"]) element.addEventListener(name, () => this.board.costs?.tell(this, this.rowOf(id)));
    this.elements.set(id, element);
    this.tree.insertBefore(element, next);
    return element;
  }

  discard(id) {
    this.gone.push(this.elements.get(id));
    this.elements.delete(id);
  }

  /** Take what is gone out of the document. At the end: with the focus in it, the page is laid out for each of them. */
  sweep() {
    for (const element of this.gone) element.remove();
    this.gone = [];
  }

  /** Write a row into its element; every text goes in as text, never as markup. */
  paintRow(element, row, top) {
    const { node, part } = row;
    const selected = this.board.selection.has(rowKey(this.group, node.id));
    const face = [row.open, row.openable, row.hit, row.depth, row.position, row.size, selected, top, this.board.faces].join() +
      [part.units, part.params, rowName(node, row.members), this.board.costs?.face(row), row === this.stop].join();
    element.tabIndex = node.id === this.activeId ? 0 : -1;
    if (element.face === face) return;
    element.face = face;
    element.style.transform = `translateY(${top}px)`;
    element.style.setProperty("--depth", Math.min(row.depth, 8));
    this.paintState(element, row, selected);
    this.paintCells(element, row);
    this.paintMoveButton(element.querySelector(".move"), row);
  }

  paintState(element, row, selected) {
    const { node } = row;
    element.classList.toggle("block", !node.unit && node.units.length > 0);
    element.classList.toggle("selected", selected);
    element.classList.toggle("hit", row.hit && Boolean(this.board.filter));
    element.classList.toggle("bare", !node.units.length);
    this.paintReach(element, row);
    element.setAttribute("aria-level", row.depth + 1);
    element.setAttribute("aria-posinset", row.position);
    element.setAttribute("aria-setsize", row.size);
    element.setAttribute("aria-selected", selected);
    element.setAttribute("aria-label", this.spokenRow(row));
    if (row.openable) element.setAttribute("aria-expanded", row.open);
    else element.removeAttribute("aria-expanded");
  }

  paintCells(element, row) {
    const { node, part, members } = row;
    const write = (cell, text) => { element.querySelector(cell).textContent = text; };
    const here = part.params[this.group];
    write(".text", rowName(node, members));
    element.querySelector(".text").title = rowPath(node);
    write(".mixed", this.mixedText(row));
    write(".note", node.note);
    write(".kind", members ? `${members.length} × ${node.kind}` : node.kind);
    element.querySelector(".kind").title = node.kind;
    write(".shape", node.shape);
    write(".params", here ? shortCount(here) : "");
    if (this.board.costs?.measured) this.board.costs.paintTime(element, row);
    else this.paintShares(element, row);
  }

  /** The share of parameters here, and of multiply-adds. */
  paintShares(element, { node, part }) {
    const { params } = this.board.tally.total;
    const all = params.reduce((sum, value) => sum + value, 0);
    const here = part.params[this.group];
    const [bar, second] = element.querySelectorAll(".bar-cell i");
    bar.style.width = `${all ? (100 * here) / all : 0}%`;
    bar.hidden = !here;
    second.hidden = true;
    element.querySelector(".madds").textContent = node.madds ? percent(node.madds, this.board.totalMadds) : "";
  }

  /** The mark of a row that gradients pass on a fast step. */
  paintReach(element, row) {
    const { passed, crossed, layers } = this.board.costs?.reachOf(row) ?? {};
    element.classList.toggle("reached", Boolean(passed));
    element.classList.toggle("partly", Boolean(passed) && crossed < layers);
    element.classList.toggle("stop", row === this.stop);
    this.describe(row.node.id, "");         // what was told of it before may be wrong now
  }

  /** What the cells of cost say when pointed at, and a screen reader of the row; "" takes it away. */
  describe(id, text) {
    const element = this.elements.get(id);
    if (!element) return;
    for (const cell of element.querySelectorAll(".bar-cell, .madds")) cell.title = text;
    if (text) element.setAttribute("aria-description", text.replace("\n", ". "));
    else element.removeAttribute("aria-description");
  }

  mixedText({ node, part }) {
    const here = part.units[this.group];
    return here && here < node.units.length ? `mixed ${here}/${node.units.length}` : "";
  }

  paintMoveButton(button, { node, part }) {
    const { groups } = this.board.data;
    const other = groups[1 - this.group]?.name;
    const label = groups.length === 2 ? `Move ${rowPath(node)} to ${other}` : `Move ${rowPath(node)} to another group`;
    button.hidden = !part.units[this.group] || this.board.disabled || groups.length < 2;
    button.title = label;
    button.setAttribute("aria-label", label);
    button.classList.toggle("back", groups.length === 2 && this.group === 1);
    button.classList.toggle("choose", groups.length > 2);
  }

  spokenRow(row) {
    const { node, part, members } = row;
    const kind = members ? `${members.length} times ${node.kind}` : node.kind;
    const numbers = part.params[this.group] ? `${shortCount(part.params[this.group])} parameters` : "no parameters";
    return [rowPath(node), kind, numbers, this.mixedText(row).replace("/", " of "), node.note, this.board.costs?.spoken(row)].filter(Boolean).join(", ");
  }

  indexOf(id) {
    return this.rows.findIndex((row) => row.node.id === id);
  }

  rowOf(id) {
    return this.rows[this.indexOf(id)];
  }

  /** A node, or the nearest block around it, that has a row here; null if none has. */
  nearest(node) {
    let around = node;
    while (around && this.indexOf(around.id) < 0) around = around.parent;
    return around;
  }

  /** Make a row the one that Tab comes back to; `focus` also puts the keyboard there. */
  activate(id, focus) {
    this.activeId = id;
    this.reveal(id);
    this.paint();
    this.settle();
    if (focus) this.elements.get(id)?.focus({ preventScroll: true });
    this.sweep();
  }

  /** Scroll the pane, not the page, until the row is in sight; `paint` and `settle` show it. */
  reveal(id) {
    if (!this.view) this.measure();
    const top = this.indexOf(id) * this.board.rowHeight;
    const room = this.view - this.header - this.board.rowHeight;
    this.top = Math.max(0, Math.min(top, Math.max(this.top, top - room)));
  }

  /** Tell the browser where the pane is scrolled to. After everything is painted: the page is laid out for it. */
  settle() {
    if (this.top !== this.scrolled) this.scroll.scrollTop = this.scrolled = this.top;
  }

  flash(ids) {
    for (const id of ids) this.elements.get(id)?.classList.add("flash");
  }

  /** Whether the focus is on something that is about to leave the document. */
  losesFocus() {
    const { activeElement } = this.section.getRootNode();
    return this.gone.some((element) => element.contains(activeElement));
  }
}
