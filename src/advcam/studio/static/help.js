/** The overlay with all keys of the page, whichever view is open. */

import { ask } from "./dialogs.js";
import { el } from "./dom.js";
import { KEYMAP } from "./keymap.js";

const FACES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space", Escape: "esc", Enter: "enter", "-": "−" };
const COLUMNS = [["everywhere", "grid", "fresh"], ["picture", "look"], ["paint"]];

const one = (key) => el("kbd", {}, FACES[key] ?? key);
const face = (key) => (key.startsWith("Shift+") ? el("span", {}, one("⇧"), " ", one(key.slice(-1).toLowerCase())) : one(key));

function table({ title, rows }) {
  const shown = rows.filter(({ hidden }) => !hidden).map(({ keys, does }) => {
    const faces = keys.length > 4 ? [face(keys[0]), " … ", face(keys.at(-1))] : keys.flatMap((key) => [face(key), " "]);
    return el("tr", {}, el("th", { scope: "row" }, ...faces), el("td", {}, does));
  });
  return el("section", {}, el("h3", {}, title), el("table.keys", {}, el("tbody", {}, ...shown)));
}

export function showHelp() {
  const columns = COLUMNS.map((groups) => el("div", {}, ...groups.map((group) => table(KEYMAP[group]))));
  return ask({ title: "Keys", body: el("div.help", {}, ...columns), choices: [{ label: "Close", value: "close", kind: "primary" }] });
}
