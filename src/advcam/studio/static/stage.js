/** The panes side by side or one alone, with the zoom and the pointer that they share. */

import { el } from "./dom.js";
import { Pane } from "./pane.js";

const MOST_ZOOM = 40;
const WHEEL = 0.0015;
const GAP = 10; // pixels around each pane, as in the style sheet

export class Stage {
  element = el("div.stage");
  /** @type {Pane[]} */ panes = [];
  view = { zoom: 1, x: 0.5, y: 0.5 };
  size = { width: 1, height: 1 };
  /** Told before each frame which pane wants what. @type {(pane: Pane) => any} */ content = () => null;
  /** Takes the pointer in place of moving the picture, where it returns true. @type {(kind: string, pane: Pane, event: PointerEvent) => boolean} */
  onpointer = () => false;
  #frame = 0;
  #drag = null;

  constructor() {
    this.resizes = new ResizeObserver(() => this.#arrange());
    this.resizes.observe(this.element);
    this.element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave"]) {
      this.element.addEventListener(kind, (event) => this.#pointer(kind, event));
    }
    this.element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  close() {
    this.resizes.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {import("./layers.js").Kind[]} kinds */
  show(kinds) {
    const known = new Map(this.panes.map((pane) => [pane.kind.key, pane]));
    this.panes = kinds.map((kind) => known.get(kind.key) ?? new Pane(kind));
    this.element.replaceChildren(...this.panes.map(({ element }) => element));
    this.element.classList.toggle("alone", kinds.length === 1);
    this.#arrange();
  }

  /** Draw in the next frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const pane of this.panes) {
        const content = this.content(pane);
        if (content) pane.draw({ ...content, size: this.size }, this.view);
      }
    });
  }

  fit() {
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.draw();
  }

  /** Zoom so that the pixel (x, y) stays where it is; without one, around the middle. */
  zoomBy(factor, pixel) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.view.zoom * factor));
    const [x, y] = pixel ? [pixel.x / this.size.width, pixel.y / this.size.height] : [this.view.x, this.view.y];
    const share = this.view.zoom / zoom;
    this.view = { zoom, x: x + (this.view.x - x) * share, y: y + (this.view.y - y) * share };
    if (zoom === 1) Object.assign(this.view, { x: 0.5, y: 0.5 });
    this.draw();
  }

  #arrange() {
    const { clientWidth, clientHeight } = this.element;
    const count = this.panes.length;
    if (!count || !clientWidth) return;
    const share = (length, parts) => (length - GAP * (parts + 1)) / parts;
    const sizeAt = (columns) => Math.min(share(clientWidth, columns) / this.size.width, share(clientHeight, Math.ceil(count / columns)) / this.size.height);
    const columns = Array.from({ length: count }, (_, i) => i + 1).reduce((best, next) => (sizeAt(next) > sizeAt(best) * 1.001 ? next : best));
    const isAlone = count === 1;
    const scale = sizeAt(columns);
    const side = (length) => (isAlone ? "minmax(0, 1fr)" : `${Math.floor(length * scale)}px`);
    this.element.style.gridTemplate = `repeat(${Math.ceil(count / columns)}, ${side(this.size.height)}) / repeat(${columns}, ${side(this.size.width)})`;
    for (const pane of this.panes) pane.resize();
    this.draw();
  }

  #paneOf(event) {
    return this.panes.find(({ element }) => element.contains(event.target));
  }

  #wheel(event) {
    const pane = this.#paneOf(event);
    if (!pane) return;
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 32 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * WHEEL), pane.pixelAt(event, this.size, this.view));
  }

  #pointer(kind, event) {
    const pane = this.#drag?.pane ?? this.#paneOf(event);
    if (!pane) return;
    if (this.onpointer(kind, pane, event)) return;
    if (kind === "pointerdown") {
      this.#drag = { pane, at: pane.pixelAt(event, this.size, this.view) };
      pane.canvas.setPointerCapture(event.pointerId);
    } else if (kind === "pointermove" && this.#drag) {
      const now = pane.pixelAt(event, this.size, this.view);
      const inside = (share) => Math.min(1, Math.max(0, share));
      this.view.x = inside(this.view.x - (now.x - this.#drag.at.x) / this.size.width);
      this.view.y = inside(this.view.y - (now.y - this.#drag.at.y) / this.size.height);
      this.draw();
    } else if (kind !== "pointermove") this.#drag = null;
    this.element.classList.toggle("dragging", this.#drag !== null);
  }
}
