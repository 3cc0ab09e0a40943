/** How a picture is looked at: which layer, which step, which threshold. Kept while the person walks from picture to picture. */

export class Look extends EventTarget {
  layer = "final";
  isSideBySide = false;
  /** Stage that the mask of the sliders is made from. @type {string | null} */ source = null;
  step = 0;
  /** Number of the one class whose map is shown; null: the strongest of all. @type {number | null} */ solo = null;
  threshold = 0.3;
  /** @type {number | null} */ power = null;
  band = 0;
  opacity = 0.6;

  /** Change something and tell. @param {Partial<Look>} changes */
  set(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new CustomEvent("change", { detail: Object.keys(changes) }));
  }

  /** @returns {{threshold: number, power: number | null, band: number}} */
  get settings() {
    return { threshold: this.threshold, power: this.power, band: this.band };
  }
}

/** @type {Look | null} */
let kept = null;

/** The look of this visit; it begins with the settings that the run's masks were made with. */
export function lookOf({ threshold, background_power: power, band }) {
  if (!kept) {
    kept = new Look();
    Object.assign(kept, { threshold, power, band });
  }
  return kept;
}
