/** The overlay with all keys that do something now. */

import { ask } from "./dialogs.js";
import { el } from "./dom.js";
import { lent } from "./keys.js";

const FACES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space", Escape: "esc", "Shift+Z": "⇧ z" };
const face = (key) => el("kbd", {}, FACES[key] ?? key);

function table({ title, bindings }) {
  const rows = bindings.filter(({ hidden }) => !hidden).map(({ keys, does }) => {
    const shown = keys.length > 4 ? [face(keys[0]), " … ", face(keys.at(-1))] : keys.flatMap((key) => [face(key), " "]);
    return el("tr", {}, el("th", { scope: "row" }, ...shown), el("td", {}, does));
  });
  return el("section", {}, el("h3", {}, title), el("table.keys", {}, ...rows));
}

export function showHelp() {
  const body = el("div.help", {}, ...lent().map(table));
  return ask({ title: "Keys", body, choices: [{ label: "Close", value: "close", kind: "primary" }] });
}
