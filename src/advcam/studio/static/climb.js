/** Climb a picture while somebody watches: choose classes and steps, see how far it is, cancel it. */

import { api } from "./api.js";
import { button, el, percent, slider } from "./dom.js";
import { describe, follow } from "./job.js";
import { attempt, notice, sentence } from "./notices.js";

const MOST_CLASSES = 8;
const TYPING_MS = 200;

export class Climb {
  /** @type {Map<number, string>} classes that are chosen */ chosen = new Map();
  #ended = new AbortController();
  #job = null;

  /**
   * @param {import("./viewer.js").Viewer} viewer
   * @param {{class_id: number, name: string, probability?: number}[]} offered the first one is chosen
   * @param {boolean} takesAll whether all that are offered are chosen
   */
  constructor(viewer, offered, takesAll) {
    Object.assign(this, { viewer, offered });
    for (const { class_id, name } of takesAll ? offered.slice(0, MOST_CLASSES) : offered.slice(0, 1)) this.chosen.set(class_id, name);
    this.list = el("ul.choices-list");
    this.search = el("input", { type: "search", placeholder: "Another class…", aria: { label: "Search for a class of the classifier" } });
    this.found = el("ul.found");
    const { live } = viewer.studio.run;
    const label = live.run_steps === null ? "Steps" : `Steps (the run took ${live.run_steps})`;
    this.iterations = slider({ label, name: "iterations", min: 1, max: 50, step: 1, value: live.steps, onchange: () => {}, hint: "Steps of the climb: more of them cover more of the picture, take longer, and may cover too much" });
    this.iterations.row.classList.add("wide");
    this.go = button("Climb", () => attempt(() => this.start()), { kind: "primary" });
    this.stop = button("Cancel", () => this.cancel(), { hidden: true });
    this.bar = el("progress", { max: 1, value: 0, hidden: true, aria: { label: "Progress of the climb" } });
    this.state = el("p.quiet", { role: "status" });
    this.form = el("div.form", {}, this.list, this.search, this.found, this.iterations.row);
    this.element = el("div.climb", {}, ...(live.available
      ? [this.form, el("div.actions", {}, this.go, this.stop), this.bar, this.state, el("p.quiet", {}, `Classifier: ${live.model}. Settings: ${live.settings}.`)]
      : [el("p.quiet", {}, `A live climb is not possible: ${live.reason}.`)]));
    this.#searching();
    this.#draw();
    this.leaving = () => this.cancel();
    addEventListener("pagehide", this.leaving);
  }

  close() {
    removeEventListener("pagehide", this.leaving);
    this.#ended.abort();
    this.cancel();
  }

  async start() {
    const { subject } = this.viewer;
    const target = subject.isOfRun ? { picture: subject.n } : { drop: subject.drop };
    this.#working(true);
    try {
      this.#job = await api.climb({ ...target, class_ids: [...this.chosen.keys()], iterations: Number(this.iterations.input.value) });
      if (this.#ended.signal.aborted) this.cancel(); // the view was closed before the answer came
      const state = await follow(this.#job, (now) => this.#tell(now), this.#ended.signal);
      const job = this.#job;
      this.#job = null;
      if (state.state === "done") this.viewer.addClimb(await api.jobMaps(job));
      if (state.state === "failed") notice(sentence(state.detail), "error");
    } finally {
      this.#working(false);
    }
  }

  cancel() {
    if (!this.#job) return;
    api.cancel(this.#job).catch(() => {}); // ended meanwhile, or the server is away: nobody asks about it any more
    this.state.textContent = "Ending after this step…";
  }

  #tell(state) {
    if (state.total) Object.assign(this.bar, { max: state.total, value: state.done });
    else this.bar.removeAttribute("value");
    this.state.textContent = describe(state, "passes");
  }

  #working(isWorking) {
    this.go.disabled = isWorking || !this.chosen.size;
    this.stop.hidden = !isWorking;
    this.bar.hidden = !isWorking;
    if (isWorking) this.state.textContent = "Asking…";
    else if (this.state.textContent === "Asking…") this.state.textContent = "";
  }

  #toggle(class_id, name) {
    if (this.chosen.has(class_id)) this.chosen.delete(class_id);
    else if (this.chosen.size < MOST_CLASSES) this.chosen.set(class_id, name);
    else notice(`A climb takes ${MOST_CLASSES} classes at once. Take one out first.`);
    this.#draw();
  }

  #draw() {
    const rows = [...this.offered];
    for (const [class_id, name] of this.chosen) if (!rows.some((row) => row.class_id === class_id)) rows.push({ class_id, name });
    this.list.replaceChildren(...rows.map(({ class_id, name, probability }) => el("li", {}, el("label.check", {},
      el("input", { type: "checkbox", checked: this.chosen.has(class_id), onchange: () => this.#toggle(class_id, name) }),
      el("span.class-name", {}, name),
      probability !== undefined && el("span.bar", { aria: { hidden: true } }, el("i", { style: { "--width": `${Math.round(probability * 100)}%` } })),
      probability !== undefined && el("span.number", {}, percent(probability))))));
    this.go.disabled = !this.chosen.size || this.#job !== null;
  }

  #searching() {
    let timer = 0;
    let asking = new AbortController();
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      asking.abort();
      asking = new AbortController();
      const { signal } = asking;
      timer = setTimeout(() => attempt(() => this.#find(this.search.value.trim(), signal)), TYPING_MS);
    });
  }

  async #find(text, signal) {
    const classes = text ? await api.findClasses(text, signal) : [];
    if (text && !classes.length) {
      this.found.replaceChildren(el("li.quiet", {}, "The classifier has no class of this name."));
      return;
    }
    this.found.replaceChildren(...classes.slice(0, 12).map(({ class_id, name }) => el("li", {}, button(name, () => {
      if (!this.chosen.has(class_id)) this.#toggle(class_id, name);
      this.search.value = "";
      this.found.replaceChildren();
    }, { kind: "plain" }))));
  }
}
