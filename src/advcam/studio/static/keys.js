/** Keys: each view lends what the keys of a group do while it is open. */

import { isAsking } from "./dialogs.js";
import { KEYMAP } from "./keymap.js";

/** @type {{keys: string[], run: (key: string) => void}[][]} */
const tables = [];

/**
 * Lend what the keys of a group do; the last one wins a key.
 * @param {string} group of the keymap @param {Record<string, (key: string) => void>} runs by the action @returns {() => void} takes it back
 */
export function lend(group, runs) {
  const table = KEYMAP[group].rows.map(({ action, keys }) => ({ keys, run: runs[action] }));
  tables.push(table);
  return () => tables.splice(tables.indexOf(table), 1);
}

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
    for (const table of [...tables].reverse()) {
      const binding = table.find(({ keys }) => keys.includes(key));
      if (!binding) continue;
      event.preventDefault();
      binding.run(key);
      return;
    }
  });
}
