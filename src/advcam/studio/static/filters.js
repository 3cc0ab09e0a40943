/** What the grid shows and in which order; the choice is in the address, so that it can be kept and shared. */

import { setThumbnails, STATUS } from "./card.js";
import { button, el, swatch } from "./dom.js";

const SORTS = { doubt: "Most doubtful first", confidence: "Least confident first", disagreement: "Stages disagree most first", iou: "Lowest IoU first", name: "By name" };
const ORDER_HINT = "Doubt: a labelled class without a pixel counts as one half; the other half is low confidence, and maps of two stages that disagree";
const TYPING_MS = 250;
const MANY_CLASSES = 12; // from here on the list of classes gets a search of its own

export class Filters {
  /** "final" or "none" */
  thumbnails = "final";

  /** @param {import("./main.js").Studio} studio @param {URLSearchParams} query is changed @param {() => void} onchange */
  constructor(studio, query, onchange) {
    Object.assign(this, { studio, query, onchange });
    this.search = el("input", { type: "search", placeholder: "Search names  /", value: query.get("text") ?? "", aria: { label: "Search by name" } });
    let timer = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#set("text", this.search.value.trim()), TYPING_MS);
    });
    this.statuses = el("div.options", { role: "group", aria: { label: "Status" } });
    this.classes = el("div.options.classes", { role: "group", aria: { label: "Class" } });
    this.find = el("input", { type: "search", placeholder: "Find a class", hidden: true, aria: { label: "Find a class" }, oninput: () => this.#drawClasses() });
    this.vanished = el("input", { type: "checkbox", checked: query.has("vanished"), onchange: () => this.#set("vanished", this.vanished.checked ? "1" : "") });
    this.order = el("div.order");
    this.facts = el("dl");
    this.element = el("aside.filters", { aria: { label: "Filters" } }, this.search,
      el("h2", {}, "Status"), this.statuses,
      el("h2", {}, "Class"), this.find, this.classes,
      el("label.check", { title: "The labels say that the picture shows it, but no pixel of the mask was given to it" }, this.vanished, "A labelled class has no pixel"),
      el("details.facts", {}, el("summary", {}, "About this run"), this.facts));
  }

  /** The run is known, or known anew. */
  update() {
    const { run } = this.studio;
    this.find.hidden = run.classes.length <= MANY_CLASSES;
    this.#drawStatuses();
    this.#drawClasses();
    this.#drawOrder();
    this.facts.replaceChildren(...[["Folder", run.folder], ...run.facts].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
  }

  reset() {
    for (const key of ["text", "status", "class", "vanished"]) this.query.delete(key);
    this.search.value = "";
    this.vanished.checked = false;
    this.update();
    this.onchange();
  }

  toggleMasks() {
    this.thumbnails = this.thumbnails === "final" ? "none" : "final";
    setThumbnails(document.querySelector(".cards"), this.thumbnails);
    this.#drawOrder();
  }

  #set(key, value) {
    if (value) this.query.set(key, value);
    else this.query.delete(key);
    this.update();
    this.onchange();
  }

  #option(key, value, ...face) {
    const isChosen = (this.query.get(key) ?? "") === value;
    return el("button", { type: "button", aria: { pressed: isChosen }, onclick: () => this.#set(key, isChosen ? "" : value) }, ...face);
  }

  #drawStatuses() {
    const { counts } = this.studio.run;
    const count = (number) => el("span.number", {}, number.toLocaleString("en"));
    this.statuses.replaceChildren(
      this.#option("status", "", el("span", {}, "All"), count(counts.pictures)),
      ...Object.entries(STATUS).filter(([status]) => status !== "unreadable" || counts.unreadable).map(([status, { word, sign }]) =>
        this.#option("status", status, el(`i.mark.${status}`, { aria: { hidden: true } }, sign), el("span", {}, word), count(counts[status]))));
  }

  #drawClasses() {
    const text = this.find.value.trim().toLowerCase();
    const { run, palette } = this.studio;
    const found = run.classes.filter(({ name, number }) => name.toLowerCase().includes(text) || String(number) === this.query.get("class"));
    this.classes.replaceChildren(
      this.#option("class", "", el("span", {}, "All classes")),
      ...found.slice(0, 200).map(({ number, name }) => this.#option("class", String(number), swatch(palette.css(number)), el("span", { title: name }, name))));
  }

  #drawOrder() {
    const chosen = this.query.get("sort") ?? "doubt";
    const sorts = Object.entries(SORTS).filter(([sort]) => sort !== "iou" || this.studio.run.has_truth);
    const select = el("select", { title: ORDER_HINT, aria: { label: "Order", description: ORDER_HINT }, onchange: () => this.#set("sort", select.value) },
      ...sorts.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
    const shows = this.thumbnails === "final";
    this.order.replaceChildren(button("Masks", () => this.toggleMasks(), { key: "m", aria: { pressed: shows }, kind: "toggle" }), select);
  }
}
