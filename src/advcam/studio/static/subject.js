/**
 * A picture with what can be looked at: one of the run, or one that was dropped in.
 *
 * @typedef {{key: string, title: string, steps: number}} Stage steps 1: only the last map is there
 */

import { api } from "./api.js";

export const LIVE = "live"; // the stage of a climb that was made here

/** What a stage did, in one sentence. @param {Stage} stage */
export function stageHint({ key, title, steps }) {
  if (key === "baseline") return "Where the classifier looks, before any climb";
  if (key.startsWith("refine-")) return `Maps refined by ${title}`;
  return steps > 1 ? "Maps of the climb, at the step of the slider" : `Maps of ${title}`;
}

export class Subject {
  /** @type {Stage[]} */ stages = [];
  #maps = new Map();
  #masks = new Map();

  /** @param {{name: string, width: number, height: number, imageUrl: string, n: number | null, drop: string | null, facts: any, titles?: Record<string, string>}} what */
  constructor(what) {
    Object.assign(this, what);
    for (const [key, { steps, classes }] of Object.entries(what.facts.stages ?? {})) {
      if (classes.length) this.stages.push({ key, title: what.titles[key] ?? key, steps: Math.max(1, steps) });
    }
    const most = 1.5e6; // pixels that a slider decides at once; of larger pictures it takes every second, third, ..
    this.stride = Math.ceil(Math.sqrt((this.width * this.height) / most));
  }

  /** @param {number} n @param {Record<string, string>} titles of the stages */
  static async ofRun(n, titles) {
    const facts = await api.picture(n);
    return new Subject({ name: facts.id, width: facts.width, height: facts.height, imageUrl: api.imageUrl(n), n, drop: null, facts, titles });
  }

  static ofDrop({ drop, name, width, height, predictions }) {
    return new Subject({ name, width, height, imageUrl: api.dropImageUrl(drop), n: null, drop, facts: { predictions, has_truth: false } });
  }

  get isOfRun() {
    return this.n !== null;
  }

  /** @returns {Stage | undefined} the climb that the film shows */
  get film() {
    return this.stages.find(({ key }) => key === LIVE) ?? this.stages.find(({ steps }) => steps > 1);
  }

  /** The picture itself, once it is loaded. */
  async image() {
    const image = new Image();
    image.src = this.imageUrl;
    await image.decode().catch(() => { throw new Error(`the picture ${this.name} cannot be shown; was it moved or deleted?`); });
    return image;
  }

  /** @returns {Promise<import("./maps.js").Maps>} */
  maps(stage) {
    return this.#once(this.#maps, stage, () => api.maps(this.n, stage));
  }

  /** @returns {Promise<import("./wire.js").Mask | null>} */
  mask(set) {
    return this.#once(this.#masks, set, () => api.mask(this.n, set));
  }

  /** The mask that counts was changed: ask anew. */
  forgetMask() {
    this.#masks.delete("final");
  }

  /** Maps of a climb that was made here. @param {import("./maps.js").Maps} maps */
  addClimb(maps) {
    this.#maps.set(LIVE, Promise.resolve(maps));
    this.stages = [...this.stages.filter(({ key }) => key !== LIVE), { key: LIVE, title: this.isOfRun ? "AdvCAM, live" : "AdvCAM", steps: maps.steps }];
  }

  #once(known, key, load) {
    if (!known.has(key)) {
      const promise = load();
      promise.catch(() => known.delete(key)); // the next look tries again
      known.set(key, promise);
    }
    return known.get(key);
  }
}
