/** A picture that was dropped in: what the classifier sees, and a climb to watch. */

import { api } from "./api.js";
import { ClassTable } from "./classes.js";
import { Climb } from "./climb.js";
import { button, el } from "./dom.js";
import { Film } from "./film.js";
import { lend } from "./keys.js";
import { lookOf } from "./look.js";
import { attempt } from "./notices.js";
import { Sliders } from "./sliders.js";
import { Subject } from "./subject.js";
import { lookKeys, Viewer } from "./viewer.js";

export class NewPicture {
  name = "new";
  element = el("div.picture-view");

  /** @param {import("./main.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.file = el("input", { type: "file", accept: "image/*", hidden: true, onchange: () => this.#take(this.file.files) });
    this.zone = el("section.drop", {},
      el("p.large", {}, "Drop a picture here"),
      el("p.quiet", {}, "See which classes the classifier finds in it, choose one, and watch AdvCAM climb."),
      button("Choose a file…", () => this.file.click(), { kind: "primary" }), this.file,
      el("p.quiet", {}, "The picture stays on the machine that runs the studio."),
      el("p.quiet", { role: "status" }));
  }

  async open() {
    this.returns = [lend("look", lookKeys(this)), lend("fresh", this.#keys())];
    this.dragging = (event) => { event.preventDefault(); this.element.classList.toggle("over", event.type === "dragover"); };
    this.dropped = (event) => { this.dragging(event); this.#take(event.dataTransfer.files); };
    for (const kind of ["dragover", "dragleave"]) addEventListener(kind, this.dragging);
    addEventListener("drop", this.dropped);
    this.#showZone();
    const { dropped } = this.studio;
    delete this.studio.dropped;
    if (dropped) await this.#take(dropped);
  }

  close() {
    for (const take of this.returns ?? []) take();
    for (const kind of ["dragover", "dragleave"]) removeEventListener(kind, this.dragging);
    removeEventListener("drop", this.dropped);
    this.#closeParts();
  }

  mayLeave() {
    return true;
  }

  hasUnsaved() {
    return false;
  }

  #showZone() {
    this.element.classList.add("empty-view");
    this.element.replaceChildren(this.zone);
  }

  #closeParts() {
    for (const part of [this.film, this.climb, this.viewer]) part?.close();
  }

  async #take(files) {
    const file = files?.[0];
    if (!file) return;
    const status = this.zone.querySelector("[role=status]");
    status.textContent = `Reading ${file.name}…`;
    const drop = await attempt(() => api.drop(file));
    status.textContent = "";
    this.file.value = "";
    if (drop) this.#show(drop);
  }

  #show(drop) {
    this.#closeParts();
    const subject = Subject.ofDrop(drop);
    this.viewer = new Viewer(this.studio, subject, lookOf(this.studio.run));
    this.classes = new ClassTable(this.viewer);
    this.climb = new Climb(this.viewer, drop.predictions, false);
    this.film = new Film(this.viewer, null);
    this.sliders = new Sliders(this.viewer, null);
    const choice = el("details.climbing", { open: true }, el("summary", {}, "Classes to climb"), this.climb.element);
    const films = () => {
      for (const part of [this.film, this.sliders]) part.element.hidden = !subject.film;
      choice.open = !subject.film; // the film wants the place
    };
    this.viewer.addEventListener("stages", films);
    films();
    const head = el("header", {}, el("h1", { title: drop.name }, el("bdi", {}, drop.name)), el("p.meta", {}, `${drop.width} × ${drop.height} pixels`, button("Another picture…", () => this.file.click(), { kind: "plain" }), this.file));
    const classes = el("section", { aria: { label: "Climb" } }, el("h2", {}, "What the classifier sees"), choice);
    this.element.classList.remove("empty-view");
    this.element.replaceChildren(this.viewer.element, el("aside.panel", { aria: { label: "About this picture" } }, head, classes, this.film.element, this.classes.element, this.sliders.element, this.sliders.colours));
    return attempt(() => this.viewer.open());
  }

  #keys() {
    return { file: () => this.file.click(), back: () => this.studio.go("#/pictures") };
  }
}
