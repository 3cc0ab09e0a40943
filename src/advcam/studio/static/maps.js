/** Attribution maps of a picture: float16 as the run stores them, and enlarged to the picture when they are looked at. */

import { axis, enlarge } from "./enlarge.js";

/** Numbers from here on stand for classes that the run's masks do not have; a dropped picture may show any. */
const FOREIGN = 200 * 256 + 1;

const BUDGET = 192 * 2 ** 20; // bytes of enlarged maps that are kept, of one picture and stage

/** All 65,536 numbers of float16, computed once. */
const HALF = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
});

export class Maps {
  #enlarged = new Map();
  #axes = new Map();

  /**
   * @param {{numbers: (number | null)[], names: string[], class_ids: number[], shape: number[], scores: number[][] | null,
   *   height: number, width: number}} header height and width are the picture's
   * @param {Uint16Array} halves (C, S, h, w), float16
   */
  constructor(header, halves) {
    const [classes, steps, height, width] = header.shape;
    if (halves.length !== classes * steps * height * width) throw new Error("these maps are cut off; open the picture again");
    const numbers = header.numbers.map((number, index) => number ?? FOREIGN + index);
    Object.assign(this, { numbers, names: header.names, classIds: header.class_ids, scores: header.scores });
    Object.assign(this, { classes, steps, mapHeight: height, mapWidth: width, width: header.width, height: header.height });
    this.halves = halves;
  }

  /** The map of one class after one step, (h, w), as it is stored. */
  plane(index, step) {
    const size = this.mapHeight * this.mapWidth;
    const start = (index * this.steps + step) * size;
    return Float32Array.from(this.halves.subarray(start, start + size), (bits) => HALF[bits]);
  }

  /**
   * The map of one class after one step at every `stride`-th pixel of the picture.
   * @returns {Float32Array} (ceil(H / stride), ceil(W / stride)), in [0, 1]
   */
  enlarged(index, step, stride = 1) {
    const key = `${index} ${step} ${stride}`;
    let found = this.#enlarged.get(key);
    if (found) this.#enlarged.delete(key); // the one used last is put last
    else found = enlarge(this.plane(index, step), this.#axis(this.mapWidth, this.width, stride), this.#axis(this.mapHeight, this.height, stride));
    this.#enlarged.set(key, found);
    this.#forget(found.byteLength);
    return found;
  }

  /** Enlarged maps of all classes after one step. */
  all(step, stride = 1) {
    return Array.from({ length: this.classes }, (_, index) => this.enlarged(index, step, stride));
  }

  /** Whether the enlarged maps of all steps can be kept. */
  get fits() {
    return this.classes * this.steps * this.width * this.height * 4 < BUDGET;
  }

  #axis(from, to, stride) {
    const key = `${from} ${to} ${stride}`;
    if (!this.#axes.has(key)) this.#axes.set(key, axis(from, to, stride));
    return this.#axes.get(key);
  }

  #forget(bytes) {
    const most = Math.max(this.classes, Math.floor(BUDGET / bytes));
    for (const key of this.#enlarged.keys()) {
      if (this.#enlarged.size <= most) break;
      this.#enlarged.delete(key);
    }
  }
}
