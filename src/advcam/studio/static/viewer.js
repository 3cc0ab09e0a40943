/** One picture large: its layers, alone or side by side, always those of the look. */

import { button, el } from "./dom.js";
import { thinned } from "./labels.js";
import { kindsOf, Layer, placeOf, sliderMask } from "./layers.js";
import { complain } from "./notices.js";
import { Stage } from "./stage.js";

const EMPTY = [];

export class Viewer extends EventTarget {
  /** @type {Map<string, import("./maps.js").Maps>} */ maps = new Map();
  /** @type {Map<string, import("./wire.js").Mask | null>} */ masks = new Map();
  /** The mask under the brush, where there is one. @type {import("./editor.js").Editor | null} */ editor = null;
  #layers = new Map();
  #slider = { key: "", mask: null };
  #picture = null;
  #isHidden = false;

  /** @param {import("./main.js").Studio} studio @param {import("./subject.js").Subject} subject @param {import("./look.js").Look} look */
  constructor(studio, subject, look) {
    super();
    Object.assign(this, { studio, subject, look, stage: new Stage() });
    this.stage.size = subject;
    this.stage.content = (pane) => this.#content(pane.kind.key);
    this.tabs = el("div.tabs", { role: "group", aria: { label: "Layers" } });
    this.tools = el("div.tools", { hidden: true });
    this.element = el("section.viewer", { aria: { label: subject.name } }, this.tabs, this.tools, this.stage.element);
    this.onlook = () => this.changed();
    look.addEventListener("change", this.onlook);
  }

  close() {
    this.look.removeEventListener("change", this.onlook);
    this.stage.close();
    this.isClosed = true;
  }

  /** Load what the picture has and show it piece by piece. */
  async open() {
    this.arrangeLook();
    this.changed();
    const { subject } = this;
    const loads = [subject.image().then((image) => { this.#picture = image; })];
    for (const { key } of subject.stages) loads.push(subject.maps(key).then((maps) => this.maps.set(key, maps)));
    if (subject.facts.has_truth) loads.push(subject.mask("truth").then((mask) => this.#keepMask("truth", mask)));
    if (subject.isOfRun) loads.push(this.loadFinal());
    await Promise.all(loads.map((load) => load.then(() => this.changed(), complain)));
    this.element.dataset.ready = "yes";
    this.#warm();
  }

  /** Ask for the mask that counts, anew. */
  async loadFinal() {
    this.subject.forgetMask();
    const { width, height, facts } = this.subject;
    const hasMask = facts.mask_sets.length > 0 || facts.revision > 0;
    this.#keepMask("final", (hasMask ? await this.subject.mask("final") : null) ?? { width, height, numbers: new Uint16Array(width * height) });
    this.changed();
  }

  /** Another picture, or another stage: a look that fits it. */
  arrangeLook() {
    const { subject, look } = this;
    const { stages, film } = subject;
    const source = stages.some(({ key }) => key === look.source) ? look.source : stages.at(-1)?.key ?? null;
    const keys = kindsOf(subject).map(({ key }) => key);
    const layer = keys.includes(look.layer) ? look.layer : keys.includes("final") ? "final" : keys[0];
    look.set({ source, layer, step: film ? film.steps - 1 : 0, solo: null });
  }

  /** A climb was made: show it. @param {import("./maps.js").Maps} maps */
  addClimb(maps) {
    this.subject.addClimb(maps);
    this.maps.set("live", maps);
    this.#layers.clear();
    this.arrangeLook();
    this.look.set({ source: "live", layer: "map:live" });
    this.dispatchEvent(new Event("stages"));
    this.#warm();
  }

  get kinds() {
    return kindsOf(this.subject);
  }

  /** Show another layer: the one before (-1) or after (1). */
  walk(direction) {
    const keys = this.kinds.map(({ key }) => key);
    const at = keys.indexOf(this.look.layer);
    this.look.set({ layer: keys[(at + direction + keys.length) % keys.length], isSideBySide: false });
  }

  /** Hide the colours, or show them again. */
  toggleColours() {
    this.#isHidden = !this.#isHidden;
    this.stage.draw();
  }

  /** Something was loaded or the look changed: draw, and tell the panel. */
  changed() {
    if (this.isClosed) return;
    const begun = performance.now();
    const kinds = this.kinds;
    this.#drawTabs(kinds);
    const alone = kinds.find(({ key }) => key === this.look.layer) ?? kinds[0];
    const shown = this.look.isSideBySide ? kinds : [alone];
    const same = shown.length === this.stage.panes.length && shown.every(({ key }, i) => key === this.stage.panes[i].kind.key);
    if (!same) this.stage.show(shown);
    for (const pane of this.stage.panes) this.#content(pane.kind.key); // so that the time below is all the work there is
    this.dispatchEvent(new Event("change"));
    this.stage.draw();
    this.element.dataset.milliseconds = (performance.now() - begun).toFixed(1);
  }

  /** The mask of the sliders as it is shown, every `subject.stride`-th pixel; null without maps. */
  get sliderMask() {
    const { look, subject } = this;
    if (!this.maps.has(look.source)) return null;
    const { stage, step } = placeOf("slider", subject, look);
    const key = [stage, step, this.maps.get(stage).steps, look.threshold, look.power, look.band].join(" ");
    if (this.#slider.key !== key) this.#slider = { key, mask: sliderMask(this.maps.get(stage), step, look, subject.stride) };
    return this.#slider.mask;
  }

  /** The mask of the sliders at every pixel. @returns {Uint16Array} */
  get wholeSliderMask() {
    const { stage, step } = placeOf("slider", this.subject, this.look);
    return sliderMask(this.maps.get(stage), step, this.look, 1);
  }

  /** A mask as the sliders' is shown. */
  thin(set) {
    const mask = this.masks.get(set);
    return mask ? thinned(mask, this.subject.stride) : null;
  }

  /** The brush was here. */
  touch(part) {
    this.#layers.get("final")?.touch(this.masks.get("final").numbers, part, this.look);
    this.stage.draw();
  }

  /** Enlarge maps while nobody does anything, so that sliders and film find them ready. */
  #warm() {
    const waiting = [...this.maps.values()].flatMap((maps) => Array.from({ length: maps.steps }, (_, step) => [maps, step])).reverse();
    const work = (deadline) => {
      while (waiting.length && !this.isClosed && deadline.timeRemaining() > 4) {
        const [maps, step] = waiting.shift();
        if (maps.fits) maps.all(step, this.subject.stride);
      }
      if (waiting.length && !this.isClosed) requestIdleCallback(work);
    };
    requestIdleCallback(work);
  }

  #keepMask(set, mask) {
    this.masks.set(set, mask && Object.assign(mask, { version: Symbol(set).toString() + performance.now() }));
  }

  #layer(key) {
    if (!this.#layers.has(key)) this.#layers.set(key, new Layer(this.studio.palette));
    return this.#layers.get(key);
  }

  #content(key) {
    const isBare = this.#isHidden && !this.editor?.isOpen;
    const layer = key === "picture" || isBare ? null : this.#painted(key);
    return { picture: this.#picture, layer, boxes: key === "picture" ? this.#boxes() : EMPTY, cursor: this.editor?.cursor ?? null };
  }

  /** The canvas of a layer, as the look wants it; null while it is being loaded. */
  #painted(key) {
    const { look, subject } = this;
    const layer = this.#layer(key);
    if (key === "final" || key === "truth") {
      const mask = this.masks.get(key);
      if (!mask) return null;
      layer.showMask(mask.numbers, mask, look, 1, mask.version);
    } else if (key === "slider") {
      const mask = this.sliderMask;
      if (!mask) return null;
      layer.showMask(mask, subject, look, subject.stride, this.#slider.key);
    } else {
      const { stage, step } = placeOf(key, subject, look);
      if (!this.maps.has(stage)) return null;
      layer.showMaps(this.maps.get(stage), step, look, subject.stride);
    }
    return layer.canvas;
  }

  #boxes() {
    const { palette, run } = this.studio;
    const names = new Map(run.classes.map(({ number, name }) => [number, name]));
    return (this.subject.facts.boxes ?? EMPTY).map((box) => {
      const number = box.number ?? box.class_id + 1;
      return { ...box, colour: palette.css(number), name: names.get(number) ?? `class ${number}` };
    });
  }

  #drawTabs(kinds) {
    const { look } = this;
    const keys = kinds.map(({ key }) => key).join();
    if (this.tabs.dataset.keys !== keys) this.#buildTabs(kinds);
    this.tabs.dataset.keys = keys;
    for (const tab of this.tabs.querySelectorAll("[data-layer]")) {
      tab.setAttribute("aria-pressed", String(!look.isSideBySide && tab.dataset.layer === look.layer));
    }
    this.paint.setAttribute("aria-pressed", String(Boolean(this.editor?.isOpen)));
    this.sides.setAttribute("aria-pressed", String(look.isSideBySide));
  }

  #buildTabs(kinds) {
    const { look } = this;
    this.paint = button("Paint", () => this.editor?.toggle(), { key: "b", kind: "toggle", hidden: !this.subject.isOfRun });
    this.sides = button("Side by side", () => look.set({ isSideBySide: !look.isSideBySide }), { key: "v", kind: "toggle" });
    this.tabs.replaceChildren(
      ...kinds.map(({ key, title, hint }) => el("button.tab", { type: "button", title: hint, data: { layer: key }, onclick: () => look.set({ layer: key, isSideBySide: false }) }, title)),
      el("span.spring"), this.paint, this.sides);
  }
}

/** What the keys for looking do in a view that has a viewer and a film, once it has them. */
export function lookKeys(view) {
  const look = () => view.viewer?.look;
  return {
    layer: (key) => view.viewer?.walk(key === "," ? -1 : 1),
    sides: () => look()?.set({ isSideBySide: !look().isSideBySide }),
    colours: () => view.viewer?.toggleColours(),
    play: () => view.film?.toggle(),
    zoom: (key) => view.viewer?.stage.zoomBy(key === "+" ? 1.5 : 1 / 1.5),
    fit: () => view.viewer?.stage.fit(),
  };
}
