/** The page: which view is open, and what all views share. */

import { api } from "./api.js";
import { Palette } from "./colours.js";
import { isAsking } from "./dialogs.js";
import { el } from "./dom.js";
import { showExport } from "./exports.js";
import { showHelp } from "./help.js";
import { lend, listen } from "./keys.js";
import { List } from "./list.js";
import { NewPicture } from "./new.js";
import { attempt, complain, sentence, watchConnection } from "./notices.js";
import { PictureView } from "./picture.js";
import { Grid } from "./grid.js";

/**
 * What all views share.
 * @typedef {{run: any, palette: Palette, list: List, refresh: () => Promise<void>, go: (hash: string) => void,
 *   last?: number, dropped?: FileList}} Studio `last`: the picture that was open; `dropped`: files for the view of new pictures
 */

const root = document.getElementById("view");
/** @type {Studio} */
const studio = { run: null, palette: null, list: new List(), refresh, go: (hash) => { location.hash = hash; } };
let view = null;
let shownHash = "";

async function refresh() {
  studio.run = await api.run();
  studio.palette = new Palette(studio.run.classes);
  const title = document.getElementById("run");
  title.textContent = studio.run.title;
  title.title = studio.run.folder;
  document.title = `${studio.run.title} · advcam studio`;
  dispatchEvent(new CustomEvent("runchange"));
}

function viewFor(hash) {
  const [, name, rest] = hash.split("?")[0].split("/");
  if (name === "picture" && /^\d+$/.test(rest ?? "")) return new PictureView(studio, Number(rest));
  if (name === "new") return new NewPicture(studio);
  return new Grid(studio, new URLSearchParams(hash.split("?")[1] ?? ""));
}

/** Open the view of the address; a view with unsaved work may hold the person back. */
async function route() {
  if (!studio.run || location.hash === shownHash || isAsking()) return;
  if (view && !(await view.mayLeave())) {
    history.replaceState(null, "", shownHash || "#/pictures");
    return;
  }
  view?.close();
  shownHash = location.hash;
  view = viewFor(shownHash);
  for (const link of document.querySelectorAll("[data-view]")) {
    const isOpen = link.dataset.view === view.name;
    if (isOpen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  root.replaceChildren(view.element);
  view.open().catch((error) => {
    if (view.element.hasChildNodes()) complain(error);
    else root.replaceChildren(el("p.empty", {}, sentence(error.message), " ", el("a", { href: "#/pictures" }, "All pictures")));
  });
}

/** A file that is dropped anywhere is a new picture; browsers would leave the page for it. */
function takeDrops() {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (view?.name === "new" || !event.dataTransfer.files.length) return;
    studio.dropped = event.dataTransfer.files;
    studio.go("#/new");
  });
}

function begin() {
  const url = new URL(location.href);
  if (url.searchParams.has("token")) { // the cookie has it now; an address is copied and shown
    url.searchParams.delete("token");
    history.replaceState(null, "", url);
  }
  listen();
  takeDrops();
  lend("everywhere", { help: showHelp });
  document.getElementById("help").addEventListener("click", showHelp);
  document.getElementById("export").addEventListener("click", () => attempt(() => showExport(studio)));
  addEventListener("hashchange", route);
  addEventListener("beforeunload", (event) => view?.hasUnsaved() && event.preventDefault());
  watchConnection(() => (studio.run ? view?.back?.() : start()));
}

async function start() {
  await refresh();
  await route();
  if (!view) location.hash = "#/pictures";
}

begin();
if (!location.hash) history.replaceState(null, "", "#/pictures");
start().catch((error) => {
  complain(error);
  root.replaceChildren(el("p.empty", {}, sentence(error.message)));
});
