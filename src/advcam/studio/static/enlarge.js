/**
 * Bilinear enlargement with the numbers of OpenCV's resize (INTER_LINEAR, float32): half-pixel centres, clamped
 * edges, one axis after the other, each value rounded to float32.
 */

/**
 * Where the pixels of one side lie between those of the map.
 * @param {number} from length of the map's side @param {number} to of the picture's @param {number} stride
 * @returns {{low: Int32Array, high: Int32Array, fraction: Float32Array}}
 */
export function axis(from, to, stride) {
  const count = Math.ceil(to / stride);
  const [low, high, fraction] = [new Int32Array(count), new Int32Array(count), new Float32Array(count)];
  for (let i = 0; i < count; i++) {
    const pixel = Math.min(to - 1, i * stride + (stride >> 1));
    const place = (pixel + 0.5) * (from / to) - 0.5;
    const floor = Math.floor(place);
    low[i] = Math.min(from - 1, Math.max(0, floor));
    high[i] = Math.min(from - 1, Math.max(0, floor + 1));
    fraction[i] = place - floor;
  }
  return { low, high, fraction };
}

/**
 * @param {Float32Array} plane (h, w), w being that of `across`
 * @returns {Float32Array} (H, W)
 */
export function enlarge(plane, across, down) {
  const [width, height] = [across.low.length, down.low.length];
  const mapWidth = across.high[width - 1] + 1;
  const rows = new Map();
  const rowOf = (y) => {
    if (!rows.has(y)) rows.set(y, stretch(plane.subarray(y * mapWidth, (y + 1) * mapWidth), across));
    return rows.get(y);
  };
  const enlarged = new Float32Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    const [above, below, share] = [rowOf(down.low[y]), rowOf(down.high[y]), down.fraction[y]];
    rows.delete(down.low[y] - 1);
    for (let x = 0; x < width; x++, at++) enlarged[at] = above[x] + Math.fround(below[x] - above[x]) * share;
  }
  return enlarged;
}

function stretch(row, { low, high, fraction }) {
  const stretched = new Float32Array(low.length);
  for (let x = 0; x < low.length; x++) {
    const left = row[low[x]];
    stretched[x] = left + Math.fround(row[high[x]] - left) * fraction[x];
  }
  return stretched;
}
