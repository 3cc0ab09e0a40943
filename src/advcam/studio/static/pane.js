/** One canvas of the stage: the picture, a layer, and what is drawn on top, all under one zoom. */

import { el } from "./dom.js";

export class Pane {
  /** @param {import("./layers.js").Kind} kind */
  constructor(kind) {
    this.kind = kind;
    this.canvas = el("canvas", { role: "img", aria: { label: kind.title } });
    this.caption = el("figcaption", { title: kind.hint }, kind.title);
    this.element = el("figure.pane", { data: { layer: kind.key } }, this.canvas, this.caption);
    this.context = this.canvas.getContext("2d");
  }

  /** Take the size that the page gives. */
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.max(1, Math.round(clientWidth * ratio)), Math.max(1, Math.round(clientHeight * ratio))];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
  }

  /** Canvas pixels for one pixel of the picture, and where its corner lies. */
  place(size, { zoom, x, y }) {
    const fit = Math.min(this.canvas.width / size.width, this.canvas.height / size.height);
    const scale = fit * zoom;
    return { scale, left: this.canvas.width / 2 - x * size.width * scale, top: this.canvas.height / 2 - y * size.height * scale };
  }

  /** Pixel of the picture under a pointer. */
  pixelAt(event, size, view) {
    const bounds = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / bounds.width;
    const { scale, left, top } = this.place(size, view);
    return { x: ((event.clientX - bounds.left) * ratio - left) / scale, y: ((event.clientY - bounds.top) * ratio - top) / scale };
  }

  /**
   * @param {{picture: CanvasImageSource | null, layer: HTMLCanvasElement | null, size: {width: number, height: number},
   *   boxes: any[], cursor: {x: number, y: number, radius: number} | null}} content
   */
  draw({ picture, layer, size, boxes, cursor }, view) {
    const { context, canvas } = this;
    const { scale, left, top } = this.place(size, view);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(scale, 0, 0, scale, left, top);
    context.imageSmoothingEnabled = scale < 4;
    if (picture) context.drawImage(picture, 0, 0, size.width, size.height);
    if (layer) {
      context.imageSmoothingEnabled = scale < 1 || this.kind.key.startsWith("map:") || this.kind.key === "cam";
      context.drawImage(layer, 0, 0, size.width, size.height);
    }
    for (const box of boxes) this.#box(box, scale);
    if (cursor) this.#cursor(cursor, scale);
  }

  #box({ x0, y0, x1, y1, colour, name }, scale) {
    const { context } = this;
    for (const [stroke, width] of [["#000c", 4], [colour, 2]]) {
      context.strokeStyle = stroke;
      context.lineWidth = (width * devicePixelRatio) / scale;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    const height = (13 * devicePixelRatio) / scale;
    context.font = `600 ${height}px system-ui, sans-serif`;
    const width = context.measureText(name).width + height * 0.8;
    context.fillStyle = "#000c";
    context.fillRect(x0, y0, width, height * 1.5);
    context.fillStyle = "#fff";
    context.fillText(name, x0 + height * 0.4, y0 + height * 1.1);
  }

  #cursor({ x, y, radius }, scale) {
    const { context } = this;
    for (const [stroke, width] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = (width * devicePixelRatio) / scale;
      context.beginPath();
      context.arc(x, y, Math.max(radius, 2 / scale), 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
