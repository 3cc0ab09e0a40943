/** The climb as a film: a slider for the step, play, and the score of each class on the way. */

import { strongest } from "./colours.js";
import { button, decimals, el, percent, slider } from "./dom.js";
import { thresholdOf } from "./labels.js";

const MS_PER_STEP = 220;
const [WIDTH, HEIGHT, MARGIN] = [288, 72, 5];
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** Share of the picture from which on a map covers nearly all of it. */
const TOO_MUCH = 0.9;
/** Share of the way up that a score may lose again before it is said. */
const SLIP = 0.05;

/** What speaks against this many steps, in words; empty where nothing does. @param {import("./maps.js").Maps} maps */
function warningOf(maps, look) {
  const threshold = thresholdOf(look.settings);
  const planes = maps.numbers.map((_, index) => maps.plane(index, look.step));
  const covered = strongest(planes).reduce((sum, value) => sum + (value > threshold), 0) / planes[0].length;
  const falls = (maps.scores ?? []).flatMap((scores, index) => {
    const peak = scores.indexOf(Math.max(...scores.slice(0, look.step + 1)));
    const lost = scores[peak] - scores[look.step];
    return lost > SLIP * (scores[peak] - scores[0]) ? [`The score of ${maps.names[index]} falls again after step ${peak}.`] : [];
  });
  const cover = covered > TOO_MUCH ? [`The map covers ${percent(covered)} of the picture at this threshold: stop earlier.`] : [];
  return [...cover, ...falls].join(" ");
}

export class Film {
  #timer = 0;
  #drawn = null;

  /** @param {import("./viewer.js").Viewer} viewer @param {Node | null} otherwise shown where the run kept no steps */
  constructor(viewer, otherwise) {
    Object.assign(this, { viewer, otherwise });
    this.step = slider({ label: "Step", name: "step", min: 0, max: 1, step: 1, value: 0, onchange: (step) => { this.pause(); viewer.look.set({ step }); } });
    this.playButton = button("Play", () => this.toggle(), { kind: "play", title: "Play the climb (space)" });
    this.curve = el("div.curve");
    [this.high, this.low, this.last] = [el("span.high"), el("span.low"), el("span.last")];
    this.chart = el("figure.chart", {}, el("figcaption", { title: "The output of the classifier for the class, before the softmax makes a probability of it" }, "Class score (before softmax)"),
      this.high, this.low, this.curve, el("span.first", {}, "0"), el("span.axis", {}, "step"), this.last);
    this.text = el("p.quiet");
    this.warning = el("p.warning", { role: "status", hidden: true });
    this.body = el("div.film", {}, el("div.transport", {}, this.playButton, this.step.row), this.chart, this.text, this.warning);
    this.element = el("section", { aria: { label: "The climb" } }, el("h2", {}, "The climb"), this.body, otherwise);
    viewer.addEventListener("change", () => this.update());
    this.update();
  }

  close() {
    clearInterval(this.#timer);
  }

  toggle() {
    if (this.#timer) this.pause();
    else this.play();
  }

  pause() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#label();
  }

  play() {
    const { viewer } = this;
    const { film } = viewer.subject;
    if (!film) return;
    const { look } = viewer;
    const moves = look.isSideBySide || ["slider", `map:${film.key}`].includes(look.layer);
    look.set({ step: look.step >= film.steps - 1 ? 0 : look.step, ...(moves ? {} : { layer: `map:${film.key}` }) });
    this.#timer = setInterval(() => {
      look.set({ step: look.step + 1 });
      if (look.step >= film.steps - 1) this.pause();
    }, MS_PER_STEP);
    this.#label();
  }

  update() {
    const { subject, look, maps } = this.viewer;
    const { film } = subject;
    this.body.hidden = !film;
    if (this.otherwise) this.otherwise.hidden = Boolean(film);
    if (!film) return;
    const last = film.steps - 1;
    Object.assign(this.step.input, { max: last });
    this.step.set(look.step);
    this.step.row.querySelector("output").textContent = `${look.step} / ${last}`;
    const found = maps.get(film.key);
    if (found !== this.#drawn) this.#draw(found, last);
    this.curve.style.setProperty("--at", `${(this.#x(look.step, last) / WIDTH) * 100}%`);
    this.text.textContent = this.#scores(found, look.step);
    this.warning.textContent = found ? warningOf(found, look) : "";
    this.warning.hidden = !this.warning.textContent;
  }

  #label() {
    const face = this.#timer ? "Pause" : "Play";
    this.playButton.textContent = face;
    this.playButton.setAttribute("aria-label", `${face} the climb`);
  }

  #scores(maps, step) {
    if (!maps?.scores) return "The scores of this climb were not stored.";
    return `Score: ${maps.names.map((name, index) => `${name} ${decimals(maps.scores[index][step])}`).join(" · ")}`;
  }

  #x(step, last) {
    return MARGIN + ((WIDTH - 2 * MARGIN) * step) / Math.max(1, last);
  }

  /** The curves; a click takes the step under it. */
  #draw(maps, last) {
    this.#drawn = maps;
    this.chart.hidden = !maps?.scores;
    if (!maps?.scores) return;
    const values = maps.scores.flat().filter(Number.isFinite);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (score) => HEIGHT - MARGIN - ((HEIGHT - 2 * MARGIN) * (score - low)) / (high - low || 1);
    const chart = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    chart.setAttribute("aria-label", `Class score over the steps of the climb, from ${low.toFixed(1)} to ${high.toFixed(1)}`);
    maps.scores.forEach((scores, index) => {
      const points = scores.map((score, step) => Number.isFinite(score) && `${this.#x(step, last)},${y(score)}`).filter(Boolean).join(" ");
      const line = shape("polyline", { points });
      line.style.setProperty("--colour", this.viewer.studio.palette.css(maps.numbers[index]));
      chart.append(line);
    });
    this.curve.replaceChildren(chart, el("i.now"));
    [this.high.textContent, this.low.textContent, this.last.textContent] = [high.toFixed(1), low.toFixed(1), String(last)];
    this.curve.onclick = ({ clientX }) => {
      const { left, width } = this.curve.getBoundingClientRect();
      const place = (((clientX - left) / width) * WIDTH - MARGIN) / (WIDTH - 2 * MARGIN);
      this.pause();
      this.viewer.look.set({ step: Math.min(last, Math.max(0, Math.round(place * last))) });
    };
  }
}
