/** A mask under the brush: strokes, fills, and all of them taken back or done again. */

const BUDGET = 256 * 2 ** 20; // bytes of undo

/** The part of a picture that two parts lie in. */
function around(a, b) {
  if (!a) return b;
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}

export class Painter {
  #done = [];
  #undone = [];
  #saved = null; // the last step that is saved
  #before = null;
  #part = null;

  /** @param {import("./wire.js").Mask} mask is changed @param {(part: {x: number, y: number, width: number, height: number}) => void} onpaint */
  constructor(mask, onpaint) {
    this.mask = mask;
    this.onpaint = onpaint;
  }

  get isChanged() {
    return this.state !== this.#saved;
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** The last step that was done: names what the mask holds now. */
  get state() {
    return this.#done.at(-1) ?? null;
  }

  /** The server has what the mask held in a state. */
  markSaved(state = this.state) {
    this.#saved = state;
  }

  /** Begin a stroke; it is one step to take back. */
  begin() {
    this.#before = this.mask.numbers.slice();
    this.#part = null;
  }

  /** Paint a line with a round brush, in pixels of the picture; pixels whose centre lies in it. */
  line(from, to, radius, number) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(0.5, radius / 3)));
    let part = null;
    for (let i = 0; i <= steps; i++) {
      const share = i / steps;
      const dab = this.#dab(from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share, radius, number);
      if (dab) part = around(part, dab);
    }
    if (part) this.#painted(part);
  }

  /** Give the connected area of one number, by sides, another number. */
  fill(x, y, number) {
    const { width, height, numbers } = this.mask;
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const old = numbers[row * width + column];
    if (old === number) return;
    const waiting = [row * width + column];
    numbers[waiting[0]] = number;
    const take = (at) => {
      if (numbers[at] !== old) return;
      numbers[at] = number;
      waiting.push(at);
    };
    while (waiting.length) {
      const at = waiting.pop();
      const place = at % width;
      if (place > 0) take(at - 1);
      if (place < width - 1) take(at + 1);
      if (at >= width) take(at - width);
      if (at < numbers.length - width) take(at + width);
    }
    this.#painted({ x: 0, y: 0, width, height });
  }

  /** Put another mask in place of this one: a step like any other. @param {Uint16Array} numbers */
  replace(numbers) {
    this.begin();
    this.mask.numbers.set(numbers);
    this.#painted({ x: 0, y: 0, width: this.mask.width, height: this.mask.height });
    this.end();
  }

  /** End a stroke. */
  end() {
    if (this.#part) {
      const step = { part: this.#part, before: this.#cut(this.#before, this.#part), after: this.#cut(this.mask.numbers, this.#part) };
      if (step.before.some((number, i) => number !== step.after[i])) this.#keep(step);
    }
    [this.#before, this.#part] = [null, null];
  }

  undo() {
    this.#move(this.#done, this.#undone, "before");
  }

  redo() {
    this.#move(this.#undone, this.#done, "after");
  }

  #move(from, to, side) {
    if (this.#before) return; // in the middle of a stroke
    const step = from.pop();
    if (!step) return;
    to.push(step);
    const { x, y, width, height } = step.part;
    for (let row = 0; row < height; row++) {
      this.mask.numbers.set(step[side].subarray(row * width, (row + 1) * width), (y + row) * this.mask.width + x);
    }
    this.onpaint(step.part);
  }

  #keep(step) {
    this.#done.push(step);
    this.#undone = [];
    const sizeOf = ({ before }) => 4 * before.length;
    let bytes = this.#done.reduce((sum, each) => sum + sizeOf(each), 0);
    while (bytes > BUDGET && this.#done.length > 1) bytes -= sizeOf(this.#done.shift());
  }

  #cut(numbers, { x, y, width, height }) {
    const cut = new Uint16Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.mask.width + x;
      cut.set(numbers.subarray(start, start + width), row * width);
    }
    return cut;
  }

  #painted(part) {
    this.#part = around(this.#part, part);
    this.onpaint(part);
  }

  #dab(x, y, radius, number) {
    const { width, height, numbers } = this.mask;
    const left = Math.max(0, Math.floor(x - radius));
    const right = Math.min(width - 1, Math.floor(x + radius));
    const top = Math.max(0, Math.floor(y - radius));
    const bottom = Math.min(height - 1, Math.floor(y + radius));
    if (left > right || top > bottom) return null;
    const reach = Math.max(radius, 0.71) ** 2; // the smallest brush still meets the pixel that it is in
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= reach) numbers[row * width + column] = number;
      }
    }
    return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
  }
}
