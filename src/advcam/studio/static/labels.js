/** Label masks from scores per class, number for number those of advcam.pseudo_label, and how well they match the truth. */

export const UNDECIDED = 255;

/**
 * The constant threshold that a background score (1 - max s) ** power amounts to: t = (1 - t) ** power.
 * @param {number} power above 0
 */
export function powerThreshold(power) {
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if ((1 - middle) ** power > middle) low = middle;
    else high = middle;
  }
  return low;
}

/** @param {{threshold: number, power: number | null}} settings */
export const thresholdOf = ({ threshold, power }) => (power === null ? threshold : powerThreshold(power));

/**
 * The class with the highest score wins a pixel if that is above the threshold plus half the band; below the
 * threshold less half the band it is background; between it is undecided.
 *
 * @param {Float32Array[]} maps one a class, all of one size
 * @param {number[]} numbers of the classes in masks
 * @param {{threshold: number, power: number | null, band: number}} settings
 * @returns {Uint16Array}
 */
export function decide(maps, numbers, settings) {
  if (!maps.length) throw new Error("a mask takes a map at least");
  const threshold = Math.fround(thresholdOf(settings));
  const half = Math.fround(settings.band / 2);
  const low = Math.min(1, Math.max(0, Math.fround(threshold - half)));
  const high = Math.min(1, Math.max(0, Math.fround(threshold + half)));
  const mask = new Uint16Array(maps[0].length);
  for (let i = 0; i < mask.length; i++) {
    let winner = 0;
    let score = maps[0][i];
    for (let c = 1; c < maps.length; c++) {
      if (maps[c][i] > score) {
        score = maps[c][i];
        winner = c;
      }
    }
    mask[i] = score > high ? numbers[winner] : score > low ? UNDECIDED : 0;
  }
  return mask;
}

/** Every `stride`-th pixel of a mask, those that `Maps.enlarged` takes. @param {import("./wire.js").Mask} mask */
export function thinned({ width, height, numbers }, stride) {
  if (stride === 1) return numbers;
  const [columns, rows] = [Math.ceil(width / stride), Math.ceil(height / stride)];
  const thin = new Uint16Array(columns * rows);
  const at = (i, side) => Math.min(side - 1, i * stride + (stride >> 1));
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) thin[y * columns + x] = numbers[at(y, height) * width + at(x, width)];
  }
  return thin;
}

/**
 * Intersection over union of each class; pixels that the truth leaves open (255) count for nothing.
 * @param {Uint16Array} mask @param {Uint16Array} truth of the same size @param {number[]} numbers
 * @returns {Map<number, number>} classes that are in neither are left out
 */
export function iouByClass(mask, truth, numbers) {
  const [both, either] = [new Uint32Array(65536), new Uint32Array(65536)];
  for (let i = 0; i < mask.length; i++) {
    if (truth[i] === UNDECIDED) continue;
    either[mask[i]]++;
    if (mask[i] === truth[i]) both[mask[i]]++;
    else either[truth[i]]++;
  }
  return new Map(numbers.filter((number) => either[number]).map((number) => [number, both[number] / either[number]]));
}

/** Share of a mask that each of some numbers has. @param {Uint16Array} mask @param {number[]} numbers @returns {number[]} */
export function shares(mask, numbers) {
  const counts = new Uint32Array(65536);
  for (let i = 0; i < mask.length; i++) counts[mask[i]]++;
  return numbers.map((number) => counts[number] / mask.length);
}
