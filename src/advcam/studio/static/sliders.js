/** From maps to a mask: which maps, which threshold, and how well it matches the truth, all at once. */

import { button, decimals, el, slider } from "./dom.js";
import { powerThreshold } from "./labels.js";

const MOST_POWER = 64;
const POWER_HINT = "In place of a threshold: the background gets a score of its own, (1 - highest map) to a power, as in PSA";

export class Sliders {
  /** @param {import("./viewer.js").Viewer} viewer @param {(() => void) | null} use takes the mask into the editor */
  constructor(viewer, use) {
    const { look } = viewer;
    Object.assign(this, { viewer, look });
    this.source = el("select", { aria: { label: "Maps that the mask is made from" }, onchange: () => this.#take(this.source.value) });
    const share = (value) => value.toFixed(2);
    this.threshold = slider({ label: "Threshold", name: "threshold", min: 0, max: 1, step: 0.01, value: look.threshold, show: share, onchange: (threshold) => this.#set({ threshold, power: null, band: this.#fitting(threshold) }), hint: "A pixel above it belongs to the class with the highest map" });
    this.power = slider({ label: "Power", name: "power", min: 1, max: MOST_POWER, step: 1, value: look.power ?? 4, onchange: (power) => this.#set({ power, band: this.#fitting(powerThreshold(power)) }), hint: "The background gets the score (1 - highest map) to this power; a pixel goes to whatever scores highest. More power, more foreground" });
    this.usesPower = el("input", { type: "checkbox", aria: { description: POWER_HINT }, onchange: () => this.#set({ power: this.usesPower.checked ? Number(this.power.input.value) : null }) });
    this.band = slider({ label: "Undecided", name: "band", min: 0, max: 0.6, step: 0.01, value: look.band, show: share, onchange: (band) => this.#set({ band }), hint: "Width of the band around the threshold in which a pixel stays undecided: 255 in the mask, left out of training and scores. 0: every pixel is decided" });
    this.opacity = slider({ label: "Opacity", name: "opacity", min: 0, max: 1, step: 0.05, value: look.opacity, show: (value) => `${Math.round(value * 100)} %`, onchange: (opacity) => look.set({ opacity }) });
    const back = button("Reset to the run", () => this.#reset(), { title: "Back to the threshold, power and band that the run's masks were made with" });
    this.use = use && button("Use this mask", use, { kind: "primary", title: "Take the mask of the sliders into the editor" });
    const body = el("div", {},
      el("label.slider", {}, el("span", {}, "From"), this.source),
      this.threshold.row,
      el("label.check", { title: POWER_HINT }, this.usesPower, "Background by power"), this.power.row,
      this.band.row,
      el("div.actions", {}, this.use, back));
    this.element = el("section", { aria: { label: "Mask from maps" } }, el("h2", {}, "Mask from the maps"), body);
    this.colours = el("section", { aria: { label: "Colours" } }, this.opacity.row);
    viewer.addEventListener("change", () => this.update());
    this.update();
  }

  update() {
    const { look, viewer } = this;
    this.element.hidden = !viewer.subject.stages.length;
    const keys = viewer.subject.stages.map(({ key }) => key).join();
    if (this.source.dataset.keys !== keys) {
      this.source.dataset.keys = keys;
      this.source.replaceChildren(...viewer.subject.stages.map(({ key, title }) => el("option", { value: key }, title)));
    }
    this.source.value = look.source ?? "";
    this.threshold.set(look.power === null ? look.threshold : powerThreshold(look.power));
    this.usesPower.checked = look.power !== null;
    this.power.row.hidden = look.power === null;
    if (look.power !== null) this.power.set(look.power);
    this.band.set(look.band);
    this.opacity.set(look.opacity);
    if (this.use) this.use.disabled = !viewer.maps.has(look.source);
  }

  /** The sliders move the mask, so that is what is shown. */
  #set(changes) {
    const shows = this.look.isSideBySide || this.look.layer === "slider";
    this.look.set({ ...changes, ...(shows ? {} : { layer: "slider" }) });
  }

  /** Maps of another stage come with the threshold that belongs to them. */
  #take(source) {
    const { thresholds, threshold } = this.viewer.studio.run;
    const own = thresholds[source] ?? threshold;
    this.#set({ source, threshold: own, power: null, band: this.#fitting(own) });
  }

  /** A band may not reach below 0 or above 1. */
  #fitting(threshold) {
    return Math.min(this.look.band, 2 * Math.min(threshold, 1 - threshold));
  }

  #reset() {
    const { threshold, background_power: power, band } = this.viewer.studio.run;
    this.#set({ threshold, power, band });
  }
}

/** One line on the match with the truth, now and of the final mask. */
export function truthLine(now, final) {
  const mean = (found) => (found?.size ? [...found.values()].reduce((sum, iou) => sum + iou, 0) / found.size : null);
  const line = `Mean IoU of the classes ${decimals(mean(final))}`;
  return now ? `${line} → ${decimals(mean(now))} (preview)` : line;
}
