/** The classes of a picture: how sure, how large, how right; a click shows the map of one alone. */

import { decimals, el, percent, swatch } from "./dom.js";
import { iouByClass, shares } from "./labels.js";
import { truthLine } from "./sliders.js";

export class ClassTable {
  #kept = new Map();

  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.body = el("tbody");
    const { facts } = viewer.subject;
    this.hasTruth = Boolean(facts.has_truth);
    this.hasConfidence = Boolean(facts.per_class?.some(({ confidence }) => confidence !== null));
    const heads = ["Class", this.hasConfidence && "Confidence", "Area", this.hasTruth && "IoU"].filter(Boolean);
    const hints = { Confidence: "How far the mask can be trusted, 0 to 1: the share of the map that lies in the largest part of its mask; of a segmentation network, its mean probability", Area: "Share of the picture in the final mask", IoU: "Intersection over union of the final mask with the ground truth" };
    this.table = el("table.class-table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col", title: hints[head] }, head)))), this.body);
    this.line = el("p.quiet", { hidden: !this.hasTruth });
    this.element = el("section", { aria: { label: "Classes" } }, el("h2", {}, "Classes"), this.table, this.line);
    viewer.addEventListener("change", () => this.update());
    this.update();
  }

  /** Rows in the order of the keys 1 to 9. @returns {{number: number, name: string, confidence: number | null}[]} */
  get rows() {
    const { subject, maps } = this.viewer;
    if (subject.facts.per_class) return subject.facts.per_class;
    const found = maps.get(subject.film?.key);
    return found ? found.numbers.map((number, index) => ({ number, name: found.names[index], confidence: null })) : [];
  }

  /** Show the map of one class alone, or of all again. */
  solo(number) {
    const { look } = this.viewer;
    const showsMaps = look.isSideBySide || look.layer.startsWith("map:") || look.layer === "cam";
    const stage = this.viewer.subject.stages.find(({ key }) => key === look.source);
    const solo = look.solo === number ? null : number;
    look.set({ solo, ...(showsMaps || solo === null || !stage ? {} : { layer: `map:${stage.key}` }) });
  }

  update() {
    const { viewer, rows } = this;
    const { look } = viewer;
    this.element.hidden = !rows.length;
    const numbers = rows.map(({ number }) => number);
    const moves = look.layer === "slider" || look.isSideBySide || !viewer.subject.isOfRun;
    const [now, final] = [this.#facts("now", moves ? viewer.sliderMask : null, numbers), this.#facts("final", viewer.masks.get("final") ? viewer.thin("final") : null, numbers)];
    const state = JSON.stringify([look.solo, rows, now && [...now.share, ...(now.iou ?? [])], final && [...final.share, ...(final.iou ?? [])]]);
    if (state === this.body.dataset.state) return;
    this.body.dataset.state = state;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    this.body.replaceChildren(...rows.map((row, index) => this.#row(row, index, now, final)));
    if (focused) this.body.querySelector(`button[data-number="${focused}"]`)?.focus();
    if (this.hasTruth) this.line.textContent = truthLine(now?.iou, final?.iou);
  }

  /** Areas and IoU of a mask, computed again only when it is another one or was painted on. */
  #facts(which, mask, numbers) {
    if (!mask) return null;
    const truth = this.hasTruth ? this.#truth() : null;
    const kept = this.#kept.get(which);
    const version = this.viewer.editor?.version ?? 0;
    if (kept?.mask === mask && kept.truth === truth && kept.version === version) return kept;
    const facts = { mask, truth, version, share: shares(mask, numbers), iou: truth && iouByClass(mask, truth, numbers) };
    this.#kept.set(which, facts);
    return facts;
  }

  #truth() {
    this.truth ??= this.viewer.thin("truth");
    return this.truth;
  }

  #row({ number, name, confidence }, index, now, final) {
    const { look, studio } = this.viewer;
    const isSolo = look.solo === number;
    const pair = (a, b) => (a === null ? [b ?? ""] : [el("span", {}, a), b !== undefined && b !== a && el("small", { title: "in the preview" }, `→ ${b}`)]);
    const face = el("button", { type: "button", title: `${name}: show its map alone (${index + 1})`, data: { number }, aria: { pressed: isSolo }, onclick: () => this.solo(number) },
      swatch(studio.palette.css(number)), el("span", {}, name), index < 9 && el("kbd", { aria: { hidden: true } }, String(index + 1)));
    const isGone = final && final.share[index] === 0;
    return el(isSolo ? "tr.solo" : "tr", {},
      el("th", { scope: "row" }, face),
      this.hasConfidence && el("td", {}, decimals(confidence)),
      el(isGone ? "td.gone" : "td", { title: isGone ? "No pixel of the final mask" : undefined }, ...pair(final ? percent(final.share[index]) : null, now ? percent(now.share[index]) : undefined)),
      this.hasTruth && el("td", {}, ...pair(decimals(final?.iou?.get(number)), now ? decimals(now.iou?.get(number)) : undefined)));
  }
}
