/**
 * What can be laid over a picture. A layer knows what it depends on and paints itself anew only when that changed.
 *
 * @typedef {{key: string, title: string, hint: string}} Kind
 */

import { edgeWidth, paintHeat, strongest } from "./colours.js";
import { decide } from "./labels.js";
import { stageHint } from "./subject.js";

/** The layers that a picture has, in the order of the work. @param {import("./subject.js").Subject} subject @returns {Kind[]} */
export function kindsOf(subject) {
  const kinds = [{ key: "picture", title: "Picture", hint: "The picture alone, with its boxes" }];
  const film = subject.film;
  const hasCam = subject.stages.some(({ key }) => key === "baseline");
  if (film && !hasCam) kinds.push({ key: "cam", title: "CAM", hint: "The map before the first step of the climb" });
  for (const stage of subject.stages) kinds.push({ key: `map:${stage.key}`, title: stage.title, hint: stageHint(stage) });
  if (subject.stages.length) kinds.push({ key: "slider", title: "Preview", hint: "The mask that the sliders make now" });
  if (subject.isOfRun) kinds.push({ key: "final", title: "Final mask", hint: "The mask that is exported: yours, else the run's" });
  if (subject.facts.has_truth) kinds.push({ key: "truth", title: "Ground truth", hint: "What people drew" });
  return kinds;
}

/** The stage and step that a layer of maps shows. */
export function placeOf(key, subject, look) {
  const film = subject.film;
  if (key === "cam") return { stage: film.key, step: 0 };
  const stage = key === "slider" ? look.source : key.slice("map:".length);
  const steps = subject.stages.find((other) => other.key === stage)?.steps ?? 1;
  return { stage, step: stage === film?.key ? Math.min(look.step, steps - 1) : steps - 1 };
}

/** The mask of the sliders. @param {import("./maps.js").Maps} maps */
export const sliderMask = (maps, step, look, stride) => decide(maps.all(step, stride), maps.numbers, look.settings);

/** A canvas behind the page that holds the colours of one layer. */
export class Layer {
  canvas = document.createElement("canvas");
  #painted = "";

  constructor(palette) {
    this.palette = palette;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  /** Maps as colours: one class alone, or the strongest at each pixel. */
  showMaps(maps, step, look, stride) {
    const index = maps.numbers.indexOf(look.solo);
    this.#paint(`heat ${maps.steps} ${step} ${index} ${look.opacity}`, maps, stride, (pixels) =>
      paintHeat(index < 0 ? strongest(maps.all(step, stride)) : maps.enlarged(index, step, stride), pixels, look.opacity));
  }

  /** A mask, of every `stride`-th pixel; `version` says when it is another one. */
  showMask(numbers, size, look, stride, version) {
    this.#paint(`mask ${version} ${look.opacity}`, size, stride, (pixels, width, height) =>
      this.palette.paintMask(numbers, width, pixels, { x: 0, y: 0, width, height }, look.opacity));
  }

  /** Paint a part of a mask again, where the brush was. */
  touch(numbers, part, look) {
    if (!part.width || !part.height) return;
    const reach = 2 * edgeWidth(this.canvas.width); // pixels around the part may be edges now
    const [x, y] = [Math.max(0, part.x - reach), Math.max(0, part.y - reach)];
    const right = Math.min(this.canvas.width, part.x + part.width + reach);
    const wider = { x, y, width: right - x, height: Math.min(this.canvas.height, part.y + part.height + reach) - y };
    const image = this.context.createImageData(wider.width, wider.height);
    this.palette.paintMask(numbers, this.canvas.width, new Uint32Array(image.data.buffer), wider, look.opacity);
    this.context.putImageData(image, x, y);
  }

  #paint(key, { width, height }, stride, paint) {
    if (this.#painted === key) return;
    const [columns, rows] = [Math.ceil(width / stride), Math.ceil(height / stride)];
    if (this.canvas.width !== columns || this.canvas.height !== rows) Object.assign(this.canvas, { width: columns, height: rows });
    const image = this.context.createImageData(columns, rows);
    paint(new Uint32Array(image.data.buffer), columns, rows);
    this.context.putImageData(image, 0, 0);
    this.#painted = key;
  }
}
