/** Keys: each view lends its table while it is open; the help shows the tables that count now. */

import { isAsking } from "./dialogs.js";

/** @typedef {{keys: string[], does: string, run: (key: string) => void, hidden?: boolean}} Binding */

/** @type {{title: string, bindings: Binding[]}[]} */
const tables = [];

/** Lend a table; the last one wins a key. @param {string} title @param {Binding[]} bindings @returns {() => void} takes it back */
export function lend(title, bindings) {
  const table = { title, bindings };
  tables.push(table);
  return () => tables.splice(tables.indexOf(table), 1);
}

export const lent = () => [...tables].reverse();

const TEXTS = "input:not([type=range], [type=checkbox], [type=radio]), select, textarea";
const SLIDER_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];
const PRESS_KEYS = [" ", "Enter"];

/** Whether the element in focus needs the key itself. */
function isTaken(target, key) {
  if (target.matches(TEXTS)) return key !== "Escape";
  if (target.matches("input[type=range]")) return SLIDER_KEYS.includes(key);
  if (target.matches("[role=tab], input[type=radio]")) return SLIDER_KEYS.includes(key) || PRESS_KEYS.includes(key);
  // A button that was clicked with the mouse keeps the focus but does not show it: space is not meant for it.
  if (target.matches("button, a, input[type=checkbox], summary")) return PRESS_KEYS.includes(key) && target.matches(":focus-visible");
  return false;
}

/** Listen to the keyboard, for as long as the page is open. */
export function listen() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isAsking()) return;
    if (event.target instanceof Element && isTaken(event.target, event.key)) return;
    const key = event.shiftKey && event.key.length === 1 && /[a-z]/i.test(event.key) ? `Shift+${event.key.toUpperCase()}` : event.key;
    for (const { bindings } of lent()) {
      const binding = bindings.find(({ keys }) => keys.includes(key));
      if (!binding) continue;
      event.preventDefault();
      binding.run(key);
      return;
    }
  });
}
