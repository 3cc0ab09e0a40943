/** Hand the masks over: choose a format, see how far it is, download the file. */

import { api } from "./api.js";
import { ask } from "./dialogs.js";
import { button, el } from "./dom.js";
import { describe, follow } from "./job.js";
import { complain } from "./notices.js";

/** @param {import("./main.js").Studio} studio */
export async function showExport(studio) {
  await studio.refresh();
  const form = new ExportForm(studio.run);
  const closed = ask({ title: "Export masks", body: form.element, choices: [{ label: "Close", value: "" }] });
  form.element.closest("form").querySelector(".choices").append(form.go);
  await closed;
  form.close();
}

class ExportForm {
  #ended = new AbortController();

  constructor({ formats, counts }) {
    this.counts = counts;
    this.formats = el("div.formats", { role: "radiogroup", aria: { label: "Format" } }, ...formats.map(({ name, title, summary }, index) =>
      el("label.format", {}, el("input", { type: "radio", name: "format", value: name, checked: index === 0 }), el("strong", {}, title), el("span", {}, summary))));
    this.only = el("input", { type: "checkbox", disabled: !(counts.accepted + counts.corrected) });
    this.go = button("Export", () => this.start().catch(complain), { kind: "primary" });
    this.stop = button("Cancel", () => this.job && api.cancel(this.job).catch(complain));
    this.bar = el("progress", { max: 1, value: 0, hidden: true, aria: { label: "Progress of the export" } });
    this.state = el("p.quiet", { role: "status" });
    this.element = el("div.export", {},
      el("p.quiet", {}, "Corrected masks take the place of the run's own. Rejected pictures are left out."),
      this.formats,
      el("label.check", {}, this.only, `Only what was accepted or corrected (${counts.accepted + counts.corrected})`),
      this.bar, this.state);
  }

  close() {
    this.#ended.abort();
  }

  async start() {
    const format = this.formats.querySelector("input:checked")?.value;
    this.#working(true);
    try {
      this.job = await api.export(format, this.only.checked ? "accepted" : "all");
      const state = await follow(this.job, (now) => this.#tell(now), this.#ended.signal);
      if (state.state === "done") this.#offer(state.detail);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.state.textContent = error.message;
    } finally {
      this.#working(false);
    }
  }

  #tell(state) {
    if (state.total) Object.assign(this.bar, { max: state.total, value: state.done });
    else this.bar.removeAttribute("value");
    this.state.textContent = describe(state, "pictures");
  }

  #offer(detail) {
    const link = el("a.download", { href: api.jobFileUrl(this.job), download: "" }, "Download the file again");
    this.state.replaceChildren(`Done: ${detail}. `, link);
    link.click();
  }

  #working(isWorking) {
    this.go.disabled = isWorking;
    if (isWorking) this.go.before(this.stop);
    else this.stop.remove();
    this.bar.hidden = !isWorking;
  }
}
