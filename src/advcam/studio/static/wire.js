/**
 * Maps and masks as bytes: uint32 length of a JSON header, the header, then little-endian numbers.
 *
 * @typedef {{width: number, height: number, numbers: Uint16Array}} Mask 0 background, class numbers, 255 undecided
 */

import { Maps } from "./maps.js";

/** @param {ArrayBuffer} buffer @returns {[any, ArrayBuffer]} */
function split(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return [header, buffer.slice(4 + length)];
}

/** @param {ArrayBuffer} buffer */
export function decodeMaps(buffer) {
  const [header, rest] = split(buffer);
  return new Maps(header, new Uint16Array(rest));
}

/** @param {ArrayBuffer} buffer @returns {Mask} */
export function decodeMask(buffer) {
  const [{ width, height, dtype }, rest] = split(buffer);
  const numbers = dtype === "u1" ? Uint16Array.from(new Uint8Array(rest)) : new Uint16Array(rest);
  return { width, height, numbers };
}

/** @param {Mask} mask @returns {Blob} */
export function encodeMask({ width, height, numbers }) {
  const isSmall = numbers.every((number) => number < 256);
  const header = new TextEncoder().encode(JSON.stringify({ height, width, dtype: isSmall ? "u1" : "<u2" }));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, header.length, true);
  return new Blob([length, header, isSmall ? Uint8Array.from(numbers) : numbers]);
}
