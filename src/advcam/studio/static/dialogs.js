/** Questions that stop the work until they are answered. */

import { el } from "./dom.js";

/**
 * @param {{title: string, text?: string, body?: Node, choices: {label: string, value: string, kind?: string}[]}} question
 * @returns {Promise<string>} value of the choice; "" where the person closed the dialog (Escape)
 */
export function ask({ title, text, body, choices }) {
  const buttons = choices.map(({ label, value, kind = "" }) => el(kind ? `button.${kind}` : "button", { value }, label));
  const form = el("form", { method: "dialog" }, el("h2", {}, title), text && el("p", {}, text), body, el("div.choices", {}, ...buttons));
  const dialog = el("dialog", { aria: { label: title } }, form);
  document.body.append(dialog);
  dialog.showModal();
  buttons.find((face) => face.classList.contains("primary"))?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

export const isAsking = () => document.querySelector("dialog[open]") !== null;
