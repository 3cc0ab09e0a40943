/** Brush, eraser and fill on the final mask, saved as the corrected mask of the run. */

import { ask } from "./dialogs.js";
import { button, el, slider, swatch } from "./dom.js";
import { UNDECIDED } from "./labels.js";
import { attempt, notice } from "./notices.js";
import { Painter } from "./painter.js";
import { Saving } from "./saving.js";

const TOOLS = {
  brush: { label: "Brush", key: "b" },
  eraser: { label: "Eraser", key: "e" },
  undecided: { label: "Undecided", key: "d" },
  fill: { label: "Fill", key: "g" },
};

export class Editor {
  isOpen = false;
  tool = "brush";
  size = 24; // pixels of the picture across
  number = 1;
  /** Where the brush is. @type {{x: number, y: number, radius: number} | null} */ cursor = null;
  /** Grows with every change of the mask. */ version = 0;
  /** @type {Painter | null} */ painter = null;
  #last = null;

  /** @param {import("./viewer.js").Viewer} viewer @param {import("./classes.js").ClassTable} classes @param {(facts: {status: string, revision: number}) => void} onreview */
  constructor(viewer, classes, onreview) {
    Object.assign(this, { viewer, classes, saving: new Saving(viewer.subject, onreview) });
    viewer.editor = this;
    viewer.stage.onpointer = (kind, pane, event) => this.isOpen && this.#pointer(kind, pane, event);
    this.size = Math.max(4, Math.round(Math.min(viewer.subject.width, viewer.subject.height) / 16));
    this.number = classes.rows[0]?.number ?? viewer.studio.run.classes[0]?.number ?? 1;
    this.#build();
  }

  get isChanged() {
    return Boolean(this.painter?.isChanged);
  }

  toggle() {
    if (this.isOpen) this.done();
    else this.take("brush");
  }

  /** Take a tool in hand; the editor opens with it. */
  take(tool) {
    if (!this.#begin()) return;
    this.tool = tool;
    this.#update();
  }

  /** Put the brush away; what was painted stays, saved or not. */
  done() {
    this.isOpen = false;
    this.cursor = null;
    this.#update();
    this.viewer.changed();
  }

  /** Start from the mask that the sliders make. */
  use() {
    if (!this.#begin()) return;
    const known = new Set([0, UNDECIDED, ...this.viewer.studio.run.classes.map(({ number }) => number)]);
    const mask = this.viewer.wholeSliderMask;
    const isForeign = mask.some((number) => !known.has(number));
    this.painter.replace(isForeign ? mask.map((number) => (known.has(number) ? number : 0)) : mask);
    notice(isForeign ? "Classes that this run's masks do not have were left out." : "The mask of the sliders is in the editor. Paint on it, then save.");
  }

  /** Choose the class to paint. */
  choose(number) {
    this.number = number;
    if (this.tool === "eraser" || this.tool === "undecided") this.tool = "brush";
    this.#update();
  }

  resize(factor) {
    this.size = Math.min(400, Math.max(1, Math.round(this.size * factor + (factor > 1 ? 0.5 : -0.5))));
    if (this.cursor) this.cursor.radius = this.size / 2;
    this.#update();
    this.viewer.stage.draw();
  }

  undo() {
    this.painter?.undo();
  }

  redo() {
    this.painter?.redo();
  }

  /** Save what was painted. @returns {Promise<boolean>} whether all is saved */
  async save() {
    if (!this.isChanged) {
      notice("Nothing was painted since the last save.");
      return true;
    }
    const { mask, state } = this.painter;
    const outcome = await attempt(() => this.saving.save(mask));
    if (outcome === "saved") {
      this.painter.markSaved(state); // strokes that came meanwhile are not
      this.#update();
      notice("Saved as the corrected mask.");
    } else if (outcome === "theirs") {
      await attempt(() => this.#load());
      notice("Their mask is shown. z brings yours back.");
    }
    return outcome === "saved";
  }

  /** Back to the mask that the run made. */
  async discard() {
    if (!(await attempt(() => this.saving.discard()))) return;
    await attempt(() => this.#load());
    notice("The run's own mask counts again.");
  }

  /** Ask about unsaved work. @returns {Promise<boolean>} whether the person may leave */
  async mayLeave() {
    if (!this.isChanged) return true;
    const answer = await ask({
      title: "Save what you painted?",
      text: "The mask of this picture has changes that are not saved.",
      choices: [{ label: "Stay", value: "" }, { label: "Leave without saving", value: "leave", kind: "danger" }, { label: "Save", value: "save", kind: "primary" }],
    });
    return answer === "leave" || (answer === "save" && this.save());
  }

  #begin() {
    const mask = this.viewer.masks.get("final");
    if (!mask) {
      notice("The mask is still being loaded.");
      return false;
    }
    this.painter ??= new Painter(mask, (part) => this.#painted(part));
    this.isOpen = true;
    this.viewer.look.set({ ...(this.viewer.look.isSideBySide ? {} : { layer: "final" }), opacity: Math.max(0.3, this.viewer.look.opacity) });
    this.#update();
    return true;
  }

  /** Take the server's mask as a step that can be taken back. */
  async #load() {
    this.viewer.subject.forgetMask();
    const mask = await this.viewer.subject.mask("final");
    this.painter.replace(mask?.numbers ?? new Uint16Array(this.painter.mask.numbers.length));
    this.painter.markSaved();
    this.#update();
  }

  #painted(part) {
    this.version++;
    this.viewer.touch(part);
    if (!this.#last) this.#settled();
  }

  /** Counts and buttons follow when a stroke has ended. */
  #settled() {
    queueMicrotask(() => {
      this.#update();
      this.viewer.changed();
    });
  }

  get #value() {
    return { eraser: 0, undecided: UNDECIDED }[this.tool] ?? this.number;
  }

  #pointer(kind, pane, event) {
    if (pane.kind.key !== "final") return false;
    const at = pane.pixelAt(event, this.viewer.subject, this.viewer.stage.view);
    this.cursor = kind === "pointerleave" && !this.#last ? null : { ...at, radius: this.tool === "fill" ? 2 : this.size / 2 };
    this.viewer.stage.draw();
    if (kind === "pointerdown" && event.button === 0) this.#press(pane, event, at);
    else if (kind === "pointermove" && this.#last) {
      for (const each of event.getCoalescedEvents?.() ?? []) this.#drag(pane.pixelAt(each, this.viewer.subject, this.viewer.stage.view));
      this.#drag(at);
    } else if (["pointerup", "pointercancel"].includes(kind) && this.#last) this.#release();
    else return false;
    return true;
  }

  #press(pane, event, at) {
    pane.canvas.setPointerCapture(event.pointerId);
    this.painter.begin();
    if (this.tool === "fill") {
      this.painter.fill(at.x, at.y, this.number);
      this.painter.end();
      this.#settled();
      return;
    }
    this.#last = at;
    this.#drag(at);
  }

  #drag(at) {
    this.painter.line(this.#last, at, this.size / 2, this.#value);
    this.#last = at;
  }

  #release() {
    this.#last = null;
    this.painter.end();
    this.#settled();
  }

  #build() {
    const { viewer } = this;
    this.toolButtons = Object.entries(TOOLS).map(([tool, { label, key }]) => button(label, () => this.take(tool), { key, kind: "toggle", data: { tool } }));
    this.sizes = slider({ label: "Size", name: "size", min: 1, max: Math.max(20, Math.round(Math.min(viewer.subject.width, viewer.subject.height) / 2)), step: 1, value: this.size, hint: "Pixels of the picture across ( [ and ] )", onchange: (size) => { this.size = size; } });
    this.swatch = el("span.chosen");
    this.select = el("select", { aria: { label: "Class to paint" }, onchange: () => this.choose(Number(this.select.value)) });
    this.undoButton = button("↶", () => this.undo(), { kind: "icon", title: "Undo (z)", aria: { label: "Undo" } });
    this.redoButton = button("↷", () => this.redo(), { kind: "icon", title: "Redo (shift z)", aria: { label: "Redo" } });
    this.saveButton = button("Save", () => this.save(), { key: "s", kind: "primary" });
    this.discardButton = button("Discard…", () => this.discard(), { title: "Delete the corrected mask: the run's own counts again" });
    viewer.tools.append(
      el("div.group", { role: "group", aria: { label: "Tools" } }, ...this.toolButtons),
      this.sizes.row,
      el("label.paint-class", {}, this.swatch, this.select),
      el("span.spring"),
      el("div.ending", {}, this.undoButton, this.redoButton, this.discardButton, this.saveButton));
    this.#fillSelect();
    this.#update();
  }

  #fillSelect() {
    const own = this.classes.rows;
    const rest = this.viewer.studio.run.classes.filter(({ number }) => !own.some((row) => row.number === number));
    const options = (rows) => rows.map(({ number, name }) => el("option", { value: number }, name));
    this.select.replaceChildren(el("optgroup", { label: "In this picture" }, ...options(own)), el("optgroup", { label: "All others" }, ...options(rest)));
  }

  #update() {
    const { viewer } = this;
    viewer.tools.hidden = !this.isOpen;
    viewer.element.classList.toggle("painting", this.isOpen);
    for (const face of this.toolButtons) face.setAttribute("aria-pressed", String(face.dataset.tool === this.tool));
    this.sizes.set(this.size);
    this.select.value = String(this.number);
    this.swatch.replaceChildren(swatch(viewer.studio.palette.css(this.number)));
    this.undoButton.disabled = !this.painter?.canUndo;
    this.redoButton.disabled = !this.painter?.canRedo;
    this.saveButton.disabled = !this.isChanged;
    this.discardButton.disabled = !viewer.subject.facts.revision; // never touched: it is the run's own
    viewer.element.classList.toggle("unsaved", this.isChanged);
  }
}
