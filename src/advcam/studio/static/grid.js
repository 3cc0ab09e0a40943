/** The grid of pictures, the most doubtful first. */

import { api } from "./api.js";
import { card, updateCard } from "./card.js";
import { button, el, plural } from "./dom.js";
import { Filters } from "./filters.js";
import { lend } from "./keys.js";
import { listQuery } from "./list.js";
import { attempt, notice } from "./notices.js";

const POLL_MS = 1000;

export class Grid {
  name = "pictures";
  element = el("div.grid-view");
  #observer = null;
  #timer = 0;
  #isClosed = false;

  /** @param {import("./main.js").Studio} studio @param {URLSearchParams} query */
  constructor(studio, query) {
    this.studio = studio;
    this.query = query;
    this.filters = new Filters(studio, query, () => this.#filtered());
    this.count = el("p.count", { role: "status" });
    this.progress = el("p.index", { hidden: true });
    this.cards = el("ul.cards", { aria: { label: "Pictures" } });
    this.foot = el("div.foot");
    this.element.append(this.filters.element, el("section.pictures", {}, el("header", {}, this.count, this.progress, this.filters.order), this.cards, this.foot));
  }

  mayLeave() {
    return true;
  }

  hasUnsaved() {
    return false;
  }

  async open() {
    this.takeKeys = lend("grid", this.#keys());
    this.#observer = new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && this.#more(), { rootMargin: "600px" });
    await this.studio.refresh();
    this.filters.update();
    const comesBack = this.studio.last !== undefined && this.studio.list.query === listQuery(this.query);
    if (comesBack) this.#show(); // the same list in the same order, as far as it was read
    else await this.#load();
    this.#watch();
  }

  close() {
    this.#isClosed = true;
    this.takeKeys?.();
    this.#observer?.disconnect();
    clearTimeout(this.#timer);
  }

  /** The server is back. */
  back() {
    return attempt(() => this.#load());
  }

  #filtered() {
    history.replaceState(null, "", `#/pictures?${this.query}`);
    attempt(() => this.#load());
  }

  async #load() {
    this.cards.setAttribute("aria-busy", "true");
    await this.studio.list.restart(this.query);
    this.cards.removeAttribute("aria-busy");
    this.cards.replaceChildren();
    this.#show();
  }

  async #more() {
    if (this.studio.list.isComplete) return;
    await attempt(() => this.studio.list.more());
    this.#show();
  }

  /** Show what the list has more than the page. */
  #show() {
    if (this.#isClosed) return;
    const { list, run } = this.studio;
    const shown = this.cards.childElementCount;
    this.cards.append(...list.pictures.slice(shown).map((picture) => card(this.studio, picture, this.filters.thumbnails)));
    const all = run.counts.pictures;
    this.count.textContent = list.total === all ? plural(all, "picture") : `${list.total.toLocaleString("en")} of ${plural(all, "picture")}`;
    this.#observer.disconnect();
    if (!list.isComplete) this.#observer.observe(this.foot);
    this.foot.replaceChildren(this.#footer());
    const again = this.cards.querySelector(`[data-n="${this.studio.last}"] a`);
    if (again && document.activeElement === document.body) again.focus({ focusVisible: true });
    delete this.studio.last;
  }

  #footer() {
    const { list, run } = this.studio;
    if (!run.counts.pictures) return el("p.empty", {}, "There is no picture in this folder yet.");
    if (!list.total) return el("p.empty", {}, "No picture fits these filters. ", button("Show all pictures", () => this.filters.reset()));
    return list.isComplete ? el("span") : el("p.loading", {}, "More pictures…");
  }

  /** Follow the index that the doubt is read from, and the run while it is written. */
  #watch() {
    const { index, writing } = this.studio.run;
    this.progress.hidden = index.ready && !writing;
    this.progress.replaceChildren(index.ready
      ? "This run is still being written. Reload the page to see what has come."
      : el("label", {}, `Reading the maps to sort by doubt: ${index.done} of ${index.total} `, el("progress", { max: Math.max(1, index.total), value: index.done })));
    if (index.ready) return;
    this.#timer = setTimeout(() => attempt(async () => {
      await this.studio.refresh();
      if (this.#isClosed) return;
      if (this.studio.run.index.ready) await this.#load();
      this.#watch();
    }), POLL_MS);
  }

  #keys() {
    return {
      move: (key) => this.#move(key),
      enter: () => document.activeElement?.closest("li[data-n]") && document.activeElement.click(),
      accept: () => this.#judge("accepted"),
      reject: () => this.#judge("rejected"),
      reopen: () => this.#judge("open"),
      masks: () => this.filters.toggleMasks(),
      search: () => this.filters.search.focus(),
      leave: () => document.activeElement?.blur(),
    };
  }

  #move(key) {
    const links = [...this.cards.querySelectorAll("a")];
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    const columns = getComputedStyle(this.cards).gridTemplateColumns.split(" ").length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))].focus({ focusVisible: true });
  }

  async #judge(status) {
    const item = document.activeElement?.closest("li[data-n]");
    if (!item) return notice("Choose a picture first: with the arrow keys.");
    const picture = this.studio.list.pictures.find(({ n }) => n === Number(item.dataset.n));
    return attempt(async () => {
      Object.assign(picture, await api.setStatus(picture.n, status, picture.revision).catch((error) => {
        if (error.status === 409) updateCard(item, Object.assign(picture, { status: error.body.status, revision: error.body.revision }));
        throw error;
      }));
      updateCard(item, picture);
      await this.studio.refresh();
      this.filters.update();
    });
  }
}
