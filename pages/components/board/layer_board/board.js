// The board: what is shown and selected, and every action that changes it.

import { buildTree, firstOpen, rowPath } from "./tree.js";
import { dropStamp, moveUnits, receive, record, redo, tally, undo, unitsIn } from "./assignment.js";
import { CostView } from "./cost_view.js";
import { keysBetween, parseFilter, rowKey, splitKey, visibleRows } from "./rows.js";
import { Pane } from "./pane.js";
import { plural } from "./format.js";

const FIRST_ROWS = 14;          // rows that the newly opened board shows, about
const LOWEST_PANE_ROWS = 6;
const TALLEST_PANE_ROWS = 14;
const FEW_GROUPS = 3;             // more of them get lower panes

/** Newest state of every board and tree of this tab: outlives a remount that Python does not notice. */
const MEMORY = new Map();

export class Board {
  constructor(root) {
    this.root = root;
    this.name = Math.random().toString(36).slice(2, 8);
    this.panes = [];
    this.selection = new Set();
    this.anchor = null;
    this.filter = null;
    this.costs = null;            // a CostView, where the cost of this network is known
    this.faces = 0;               // counts changes that alter every row's look
    this.rowHeight = window.matchMedia("(pointer: coarse)").matches ? 34 : 26;
    root.style.setProperty("--row-height", `${this.rowHeight}px`);
  }

  // ---- data from Python ---------------------------------------------------------------------------------

  /** Take what Python sent. Called again for every change of data or theme, so the same data changes nothing. */
  update(data, send) {
    this.send = (codes) => send("assign", codes);
    if (data === this.data) return;
    const before = this.data;
    this.data = data;
    const changed = before?.content !== data.content;
    if (changed) this.content = JSON.parse(data.content);
    this.disabled = data.disabled;
    this.root.classList.toggle("disabled", data.disabled);
    const another = before?.tree !== data.tree || before?.board !== data.board;
    if (another) this.remember();
    if (another || changed) this.plant();
    this.faces += 1;
    if (before?.groups.length !== data.groups.length) this.layPanes();
    this.memory.state = receive(this.memory.state, data.assign, data.groups.length);
    this.refresh();
  }

  /** Go on where this tab left this board and tree. */
  remember() {
    const slot = `${this.data.board}\n${this.data.tree}`;
    if (!MEMORY.has(slot)) MEMORY.set(slot, { state: null, open: null, drops: 0 });
    this.memory = MEMORY.get(slot);
    this.clearSelection();
  }

  /** Build the tree, folded or not. */
  plant() {
    const { rows } = this.content;
    this.tree = buildTree(rows, this.root.querySelector(".fold").checked);
    this.memory.open ??= firstOpen(this.tree, FIRST_ROWS);
    this.totalMadds = this.tree.roots.reduce((sum, node) => sum + node.madds, 0);
    this.root.style.setProperty("--pane-rows", Math.max(LOWEST_PANE_ROWS, Math.min(TALLEST_PANE_ROWS, rows.length + 1)));
    this.plantCosts();
    this.faces += 1;
  }

  plantCosts() {
    const { cost } = this.content;
    this.costs = cost ? new CostView(cost, this.tree, this.root) : null;
    this.root.classList.toggle("timed", Boolean(this.costs?.measured));
    for (const part of this.root.querySelectorAll(".reach, .about-reach")) part.hidden = !this.costs;
  }

  /** One pane per group. */
  layPanes() {
    this.clearSelection();
    this.closePanes();
    if (this.costs) this.costs.told = null;
    this.panes = this.data.groups.map((_, group) => new Pane(this, group));
    this.root.classList.toggle("many", this.panes.length > FEW_GROUPS);
    this.root.querySelector(".panes").replaceChildren(...this.panes.map((pane) => pane.section));
  }

  /** They watch their own heights, which would keep them alive. */
  closePanes() {
    for (const pane of this.panes) pane.close();
  }

  get codes() {
    return this.memory.state.history.present;
  }

  // ---- showing ------------------------------------------------------------------------------------------

  /** Show everything anew; `arrived`: ids of rows that just moved into pane `to`, which scrolls there. */
  refresh(arrived = [], to = 0) {
    this.tally = tally(this.tree, this.codes, this.panes.length);
    this.costs?.update(this.codes, this.data.groups, this.tally.parts);
    for (const pane of this.panes) pane.take(this.rowsOf(pane.group));
    const shown = arrived.map((id) => this.panes[to].nearest(this.tree.nodes.get(id))?.id).filter(Boolean);
    if (shown.length) this.panes[to].reveal(shown[0]);
    for (const pane of this.panes) {
      pane.paintHeader();
      pane.paint();
    }
    this.panes[to]?.flash(shown);
    this.costs?.paintWords();
    this.paintBar();
    for (const pane of this.panes) pane.settle();
    for (const pane of this.panes) {
      if (pane.activeId && pane.losesFocus()) pane.activate(pane.activeId, true);
      pane.sweep();
    }
  }

  rowsOf(group) {
    const hideBare = this.root.querySelector(".bare").checked;
    const { tree, filter, memory } = this;
    return visibleRows({ tree, parts: this.tally.parts, group, open: memory.open, filter, hideBare });
  }

  paintBar() {
    const { past, future } = this.memory.state.history;
    const button = (act) => this.root.querySelector(`[data-act=${act}]`);
    const matches = this.filter ? this.matches().length : 0;
    button("undo").disabled = this.disabled || !past.length;
    button("redo").disabled = this.disabled || !future.length;
    button("match").disabled = !matches;
    button("match").textContent = matches ? `Select ${plural(matches, "match", "matches")}` : "Select matches";
    const chosen = this.root.querySelector(".chosen");
    chosen.hidden = !this.selection.size;
    chosen.textContent = `${plural(this.selection.size, "row")} selected`;
  }

  announce(text) {
    this.root.querySelector(".live").textContent = text;
  }

  clone(template) {
    return this.root.querySelector(template).content.firstElementChild.cloneNode(true);
  }

  // ---- moving -------------------------------------------------------------------------------------------

  /** The parameters that these rows would bring to group `to`, each once. */
  unitsOfKeys(keys, to) {
    const units = new Set();
    for (const key of keys) {
      const { group, id } = splitKey(key);
      const node = this.tree.nodes.get(id);
      if (group === to || !node) continue;
      for (const unit of unitsIn(node, this.codes, group)) units.add(unit);
    }
    return [...units];
  }

  /** Move what these rows show to another group; returns how many parameters moved. */
  move(keys, to) {
    const units = this.disabled || to >= this.panes.length ? [] : this.unitsOfKeys(keys, to);
    if (!units.length) return 0;
    const ids = [...keys].map((key) => splitKey(key).id);
    this.clearSelection();
    this.change(record(this.memory.state.history, moveUnits(this.codes, units, to)), ids, to);
    this.announce(`Moved ${this.spokenKeys(ids)} (${plural(units.length, "tensor")}) to ${this.data.groups[to].name}`);
    return units.length;
  }

  spokenKeys(ids) {
    return ids.length === 1 ? rowPath(this.tree.nodes.get(ids[0])) : plural(ids.length, "row");
  }

  undo() {
    this.travel(undo, "Undone");
  }

  redo() {
    this.travel(redo, "Redone");
  }

  travel(step, word) {
    const history = step(this.memory.state.history);
    if (this.disabled || history.present === this.codes) return;
    this.change(history);
    this.announce(word);
  }

  /** The one way to a new assignment: show it at once, then tell Python. `arrived` and `to` as in `refresh`. */
  change(history, arrived = [], to = 0) {
    this.memory.state = { ...this.memory.state, history };
    this.memory.drops += 1;
    this.refresh(arrived, to);
    this.send({ stamp: dropStamp(this.memory.state.base, this.name, this.memory.drops), codes: history.present });
  }

  // ---- selecting ----------------------------------------------------------------------------------------

  matches() {
    const rows = this.panes.flatMap((pane) => pane.rows);
    return rows.filter((row) => row.hit && row.part.units[row.group]).map((row) => rowKey(row.group, row.node.id));
  }

  selectMatches() {
    this.selection = new Set(this.matches());
    this.refresh();
    this.announce(`${plural(this.selection.size, "row")} selected`);
  }

  /** Everything in a group; under a filter, everything in it that matches. */
  selectAll(group) {
    const rows = this.panes[group].rows.filter((row) => (this.filter ? row.hit : row.node.parent === null));
    this.selection = new Set(rows.map((row) => rowKey(group, row.node.id)));
    this.refresh();
    this.announce(`${plural(this.selection.size, "row")} selected`);
  }

  /** Select by click or key: `range` from the last one, `add` to the others, else this row alone. */
  select(group, id, { range = false, add = false } = {}) {
    const key = rowKey(group, id);
    const alone = this.selection.size === 1 && this.selection.has(key);
    if (range && this.anchor && splitKey(this.anchor).group === group) {
      if (!add) this.selection.clear();
      for (const between of keysBetween(this.panes[group].rows, this.anchor, key)) this.selection.add(between);
    } else {
      const remove = add ? this.selection.has(key) : alone;
      if (!add) this.selection.clear();
      if (remove) this.selection.delete(key);
      else this.selection.add(key);
      this.anchor = key;
    }
    this.refresh();
  }

  clearSelection() {
    this.selection.clear();
    this.anchor = null;
  }

  // ---- what is open and matched ---------------------------------------------------------------------------

  toggle(id) {
    const { open } = this.memory;
    if (!open.delete(id)) open.add(id);
    this.refresh();
  }

  openAll(all) {
    const blocks = [...this.tree.nodes.values()].filter((node) => node.children.length);
    this.memory.open = new Set(all ? blocks.map((node) => node.id) : []);
    this.refresh();
  }

  setFilter(text) {
    this.filter = parseFilter(text);
    this.faces += 1;
    this.refresh();
    if (this.filter) this.announce(plural(this.matches().length, "match", "matches"));
  }

  refold() {
    this.clearSelection();
    this.plant();
    this.refresh();
  }
}
