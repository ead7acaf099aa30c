// Cost and reach on the board: what the rows, the panes and the line below the tools show of them.

import { moveUnits, unitsIn } from "./assignment.js";
import { fastStepSeconds, fastUnits, moveTarget, neededNodes, rowCost } from "./cost.js";
import { moveWords, passedWords, reachWords, stepWords, timeWords } from "./cost_words.js";
import { percent } from "./format.js";
import { nodesOfRows, reachOf, stopRow } from "./reach.js";
import { rowPath } from "./tree.js";

export class CostView {
  /** `cost`: as Python sent it, for the rows of `tree`. */
  constructor(cost, tree, root) {
    Object.assign(this, { cost, tree, root });
    this.nodesOf = nodesOfRows(cost, tree);
    this.told = null;             // the row whose cost is told now: { pane, id }
  }

  get measured() {
    return this.cost.measured;
  }

  /** Take over which parameter is where. */
  update(codes, groups, parts) {
    Object.assign(this, { codes, groups, fast: fastUnits(codes, groups) });
    const needed = neededNodes(this.cost, this.fast);
    this.seconds = fastStepSeconds(this.cost, this.fast, needed);
    this.reach = reachOf(this.tree, this.nodesOf, needed, parts);
  }

  /** What gradients pass of a row in its pane: { passed, crossed, layers }. */
  reachOf({ node, group }) {
    return this.reach.rows.get(node)[group];
  }

  /** The row of a pane above which its gradients stop, or null. */
  stopOf(rows) {
    return stopRow(rows, (row) => this.reachOf(row).passed);
  }

  /** What a row shows of all this, as one string: it is painted again when that is another one. */
  face(row) {
    const { passed, crossed, layers } = this.reachOf(row);
    return [passed, crossed, layers, this.share(row)].join();
  }

  share(row) {
    const time = rowCost(this.cost, row);
    return time ? percent(time.forward + time.backward, this.cost.sgd_s) : "";
  }

  spoken(row) {
    const share = this.share(row);
    const time = /\d/.test(share) ? `${share} of the time` : "";
    return [time, passedWords(this.reachOf(row))].filter(Boolean).join(", ");
  }

  /** What moving a row would do; "" if nothing. Only when asked for: it takes a walk through the graph. */
  moveSentence({ node, group }) {
    const to = moveTarget(this.groups, group);
    const units = unitsIn(node, this.codes, group);
    if (to < 0 || !units.length) return "";
    const after = fastStepSeconds(this.cost, fastUnits(moveUnits(this.codes, units, to), this.groups));
    return moveWords(this.groups[to].name, this.seconds, after);
  }

  // ---- in the document ------------------------------------------------------------------------------------

  /** The bar and the share of time, in the place of those of parameters. */
  paintTime(element, row) {
    const time = rowCost(this.cost, row);
    const bars = element.querySelectorAll(".bar-cell i");
    [time?.forward, time?.backward].forEach((seconds, index) => {
      bars[index].hidden = !seconds;
      bars[index].style.width = `${seconds ? Math.min(100, (100 * seconds) / this.cost.sgd_s) : 0}%`;
    });
    element.classList.toggle("untimed", !time);
    element.querySelector(".madds").textContent = this.share(row);
  }

  /** The line below the tools. A text that stays the same is not written again: it would be read out again. */
  paintWords() {
    const words = this.root.querySelector(".reach-words");
    const text = reachWords(this.groups, this.fast, this.reach);
    if (words.textContent !== text) words.textContent = text;
    this.retell();
  }

  /** After a change: tell the same row again, or of the step alone. */
  retell() {
    const row = this.told?.pane.rowOf(this.told.id);
    if (row) return this.tell(this.told.pane, row);
    const isStep = this.measured && this.fast.includes(1);
    this.write(isStep ? stepWords(this.seconds, this.cost.sgd_s) : "");
  }

  /** Tell of the row that is pointed at, touched, or has the keyboard. */
  tell(pane, row) {
    if (!this.measured || !row) return;
    this.told?.pane.describe(this.told.id, "");
    this.told = { pane, id: row.node.id };
    const time = rowCost(this.cost, row);
    const words = [time ? timeWords(time) : "", this.moveSentence(row)].filter(Boolean);
    pane.describe(row.node.id, words.join("\n"));
    // The other way round: where there is no room, the end is cut off.
    this.write([rowPath(row.node), ...words.reverse()].join(" · "));
  }

  write(text) {
    this.root.querySelector(".what-if").textContent = text;
  }
}
