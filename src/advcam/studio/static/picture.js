/** One picture of the run: judge it, look into it, correct it. */

import { api } from "./api.js";
import { badge } from "./card.js";
import { ClassTable } from "./classes.js";
import { Climb } from "./climb.js";
import { button, el } from "./dom.js";
import { Editor } from "./editor.js";
import { Film } from "./film.js";
import { lend } from "./keys.js";
import { lookOf } from "./look.js";
import { attempt, notice } from "./notices.js";
import { Sliders } from "./sliders.js";
import { Subject } from "./subject.js";
import { lookKeys, Viewer } from "./viewer.js";

export class PictureView {
  name = "pictures";
  element = el("div.picture-view");

  /** @param {import("./main.js").Studio} studio @param {number} n */
  constructor(studio, n) {
    Object.assign(this, { studio, n });
  }

  async open() {
    this.returns = [lend("paint", this.#paintKeys()), lend("look", lookKeys(this)), lend("picture", this.#keys())];
    const { list } = this.studio;
    const [subject] = await Promise.all([Subject.ofRun(this.n, this.studio.run.stage_titles), list.pictures.length ? null : list.restart(new URLSearchParams("sort=doubt"))]);
    if (this.isClosed) return;
    this.subject = subject;
    this.studio.last = this.n;
    this.viewer = new Viewer(this.studio, subject, lookOf(this.studio.run));
    this.classes = new ClassTable(this.viewer);
    this.editor = new Editor(this.viewer, this.classes, (review) => this.#reviewed(review));
    this.climb = new Climb(this.viewer, this.#climbable(), true);
    this.film = new Film(this.viewer, el("details.climbing", {}, el("summary", {}, "Climb this picture here…"), el("p.quiet", {}, "The run kept no steps of its climb."), this.climb.element));
    this.sliders = new Sliders(this.viewer, () => this.editor.use());
    this.#build();
    await this.viewer.open();
  }

  close() {
    this.isClosed = true;
    for (const take of this.returns ?? []) take();
    this.film?.close();
    this.climb?.close();
    this.viewer?.close();
  }

  async mayLeave() {
    return this.editor ? this.editor.mayLeave() : true;
  }

  hasUnsaved() {
    return Boolean(this.editor?.isChanged);
  }

  #build() {
    const { id } = this.subject.facts;
    const folder = id.includes("/") ? id.slice(0, id.lastIndexOf("/") + 1) : "";
    this.status = el("span.status");
    this.place = el("span.quiet");
    this.accept = button("Accept", () => this.#judge("accepted"), { key: "a", kind: "accept", title: "The mask is good: it is exported (a)" });
    this.reject = button("Reject", () => this.#judge("rejected"), { key: "r", kind: "reject", title: "The mask is no good: it is left out of exports and training (r)" });
    this.reopen = button("Clear", () => this.#judge("open"), { key: "u", title: "Take the verdict back: the picture is neither accepted nor rejected (u)" });
    const head = el("header", {},
      el("div.walk", {}, el("a.back", { href: "#/pictures", onclick: (event) => { event.preventDefault(); this.#back(); } }, "‹ All pictures"), el("span.spring"),
        this.place, button("‹", () => this.#walk(-1), { kind: "icon", title: "Previous picture (←)", aria: { label: "Previous picture" } }), button("›", () => this.#walk(1), { kind: "icon", title: "Next picture (→)", aria: { label: "Next picture" } })),
      el("h1", { title: id }, el("small", {}, el("bdi", {}, folder)), el("bdi", {}, id.slice(folder.length))),
      el("p.meta", {}, `${this.subject.width} × ${this.subject.height} pixels`, this.status),
      el("div.verdict", { role: "group", aria: { label: "Verdict" } }, this.accept, this.reject, this.reopen));
    const panel = el("aside.panel", { aria: { label: "About this picture" } }, head, this.classes.element, this.film.element, this.sliders.element, this.sliders.colours);
    this.element.replaceChildren(this.viewer.element, panel);
    this.#showStatus();
  }

  /** Classes of the classifier that the picture's maps are of. */
  #climbable() {
    const found = new Map();
    for (const { classes } of Object.values(this.subject.facts.stages)) for (const { class_id, name } of classes) found.set(class_id, { class_id, name });
    return [...found.values()];
  }

  #reviewed(review) {
    Object.assign(this.subject.facts, review);
    this.studio.list.update(this.n, review);
    this.#showStatus();
  }

  #showStatus() {
    const { status } = this.subject.facts;
    this.status.replaceChildren(badge(status));
    this.accept.setAttribute("aria-pressed", String(status === "accepted"));
    this.reject.setAttribute("aria-pressed", String(status === "rejected"));
    this.reopen.disabled = status === "open";
    const place = this.studio.list.placeOf(this.n);
    this.place.textContent = place ? `${place} of ${this.studio.list.total}` : "";
  }

  /** Judge what is shown: what was painted is saved first. */
  async #judge(status) {
    if (!this.editor) return;
    if (this.editor.isChanged && !(await this.editor.save())) return;
    await attempt(async () => {
      try {
        this.#reviewed(await api.setStatus(this.n, status, this.subject.facts.revision));
        notice({ accepted: "Accepted.", rejected: "Rejected.", open: "The verdict is taken back." }[status]);
      } catch (error) {
        if (error.status === 409) {
          this.#reviewed({ status: error.body.status, revision: error.body.revision });
          await this.viewer.loadFinal();
        }
        throw error;
      }
    });
  }

  async #walk(direction) {
    if (!this.subject) return;
    const n = await attempt(() => this.studio.list.neighbour(this.subject.facts, direction));
    if (n === null) notice(direction < 0 ? "This is the first picture." : "This is the last picture.");
    else if (n !== undefined) this.studio.go(`#/picture/${n}`);
  }

  #back() {
    const { query } = this.studio.list;
    this.studio.go(`#/pictures${query ? `?${query}` : ""}`);
  }

  #escape() {
    if (this.editor?.isOpen) this.editor.done();
    else this.#back();
  }

  #number(key) {
    const row = this.classes?.rows[Number(key) - 1];
    if (!row) return;
    if (this.editor.isOpen) this.editor.choose(row.number);
    else this.classes.solo(row.number);
  }

  #keys() {
    return {
      walk: (key) => this.#walk(key === "ArrowLeft" ? -1 : 1),
      accept: () => this.#judge("accepted"),
      reject: () => this.#judge("rejected"),
      reopen: () => this.#judge("open"),
      number: (key) => this.#number(key),
      escape: () => this.#escape(),
    };
  }

  #paintKeys() {
    return {
      brush: () => (this.editor?.isOpen && this.editor.tool === "brush" ? this.editor.done() : this.editor?.take("brush")),
      eraser: () => this.editor?.take("eraser"),
      undecided: () => this.editor?.take("undecided"),
      fill: () => this.editor?.take("fill"),
      size: (key) => this.editor?.resize(key === "[" ? 0.8 : 1.25),
      undo: () => this.editor?.undo(),
      redo: () => this.editor?.redo(),
      save: () => this.editor?.save(),
    };
  }
}
