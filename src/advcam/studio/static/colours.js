/** Colours of masks (the PASCAL VOC palette, or what the run says) and of maps (blue 0, red 1). */

import { UNDECIDED } from "./labels.js";

/** One colour of the VOC table, [r, g, b]: the bits of the number are dealt out to red, green and blue. */
export function vocColour(number) {
  const colour = [0, 0, 0];
  for (let bit = 7, rest = number; bit >= 0; bit--, rest >>= 3) {
    for (let channel = 0; channel < 3; channel++) colour[channel] |= ((rest >> channel) & 1) << bit;
  }
  return colour;
}

const clamp = (value) => Math.min(255, Math.max(0, value));

/** OpenCV's JET: [r, g, b] of a level 0 to 255. */
export const jet = (level) => [
  clamp(Math.min(4 * level - 382, 1148 - 4 * level)),
  clamp(Math.min(4 * level - 128, 892 - 4 * level)),
  level === 159 ? 1 : clamp(Math.min(4 * level + 128, 638 - 4 * level)),
];

const pack = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0; // bytes r, g, b, a

export const hex = ([r, g, b]) => `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/** Pixels that each of the two lines at the edge of a class is wide, so that they are seen in a large picture too. */
export const edgeWidth = (width) => Math.max(1, Math.round(width / 600));

const [LIGHT, DARK] = [[255, 255, 255], [24, 24, 24]];

/** Colours of class numbers. */
export class Palette {
  #known = new Map();
  #fills = new Uint32Array(65536);
  #faint = 0;
  #alpha = -1;

  /** @param {{number: number, colour: string}[]} classes */
  constructor(classes) {
    for (const { number, colour } of classes) {
      this.#known.set(number, [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)));
    }
  }

  rgb(number) {
    if (!this.#known.has(number)) this.#known.set(number, vocColour(number % 256));
    return this.#known.get(number);
  }

  css(number) {
    return number === 0 ? "transparent" : hex(this.rgb(number));
  }

  /**
   * Paint a part of a mask: its areas see-through, stripes where nothing is decided. Classes end in a light line beside
   * a dark one: whatever colour the picture has there, one of the two is seen.
   * @param {Uint16Array} mask @param {number} width of the whole mask @param {Uint32Array} pixels of the part
   * @param {{x: number, y: number, width: number, height: number}} part @param {number} opacity 0 to 1
   */
  paintMask(mask, width, pixels, part, opacity) {
    this.#mix(opacity);
    const [fills, faint] = [this.#fills, this.#faint];
    const [light, dark] = [LIGHT, DARK].map((line) => pack(line, this.#alpha ? (this.#alpha + 3 * 255) >> 2 : 0));
    const height = mask.length / width;
    const reach = edgeWidth(width);
    for (let y = part.y, out = 0; y < part.y + part.height; y++) {
      for (let x = part.x, at = y * width + x; x < part.x + part.width; x++, at++, out++) {
        const number = mask[at];
        if (number === 0) {
          pixels[out] = 0;
          continue;
        }
        if (fills[number] === 0) this.#add(number);
        if (number === UNDECIDED) pixels[out] = (x + y) & 4 ? fills[number] : faint;
        else if (isNear(mask, width, height, x, y, at, reach)) pixels[out] = light;
        else pixels[out] = isNear(mask, width, height, x, y, at, 2 * reach) ? dark : fills[number];
      }
    }
  }

  /** Begin anew where the opacity is another one. */
  #mix(opacity) {
    const alpha = Math.round(opacity * 255);
    if (alpha === this.#alpha) return;
    this.#alpha = alpha;
    this.#fills.fill(0);
    this.#faint = pack(this.rgb(UNDECIDED), alpha >> 2);
  }

  #add(number) {
    this.#fills[number] = pack(this.rgb(number), this.#alpha);
  }
}

/** Whether a pixel has one of another number so many pixels beside it. */
function isNear(mask, width, height, x, y, at, reach) {
  const number = mask[at];
  return (x >= reach && mask[at - reach] !== number) || (x + reach < width && mask[at + reach] !== number)
    || (y >= reach && mask[at - reach * width] !== number) || (y + reach < height && mask[at + reach * width] !== number);
}

const levels = new Uint32Array(256);

/** Paint a map of values in [0, 1]: `opacity` everywhere, as the overlays of a run. */
export function paintHeat(map, pixels, opacity) {
  const alpha = Math.round(opacity * 255);
  for (let level = 0; level < 256; level++) levels[level] = pack(jet(level), alpha);
  for (let i = 0; i < map.length; i++) pixels[i] = levels[clamp(map[i] * 255) | 0];
}

/** The largest of several maps at each pixel. @param {Float32Array[]} maps */
export function strongest(maps) {
  if (maps.length === 1) return maps[0];
  const most = maps[0].slice();
  for (const map of maps.slice(1)) for (let i = 0; i < most.length; i++) if (map[i] > most[i]) most[i] = map[i];
  return most;
}
