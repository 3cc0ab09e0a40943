/** Sentences to the person: short notices at the foot of the page, and a banner while the server is away. */

import { api, ApiError, connection } from "./api.js";
import { button, el } from "./dom.js";

const SHOWN_MS = { info: 3500, error: 12000 };
const RETRY_MS = 3000;

/** @param {string} text @param {"info" | "error"} [kind] */
export function notice(text, kind = "info") {
  const area = document.getElementById("notices");
  const remove = () => note.remove();
  const note = el(`div.notice.${kind}`, {}, el("span", {}, text), button("×", remove, { kind: "close", aria: { label: "Close" } }));
  for (const old of [...area.children].filter((child) => child.firstChild.textContent === text)) old.remove();
  area.append(note);
  setTimeout(remove, SHOWN_MS[kind]);
}

/** The sentence of an error with a capital, unless it begins with a name of a file or a thing. */
export const sentence = (text) => (/^[a-z]+(\s|,|$)/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);

/** Say what went wrong. A server that is away has its banner; requests that were taken back say nothing. */
export function complain(error) {
  if (error.name === "AbortError" || (error instanceof ApiError && error.status === 0)) return;
  if (!(error instanceof ApiError)) console.error(error);
  notice(sentence(error.message), "error");
}

/** Run what a person asked for and say what went wrong. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    complain(error);
    return undefined;
  }
}

/** Show the banner while the server is away and try again until it is back. @param {() => void} onback */
export function watchConnection(onback) {
  const banner = document.getElementById("banner");
  let timer = 0;
  const retry = () => api.run().catch(() => {});
  connection.addEventListener("gone", () => {
    banner.replaceChildren(
      el("span", {}, "The studio does not answer: the command was stopped, or the machine sleeps. What you painted is still here. Trying again…"),
      button("Try now", retry),
    );
    banner.hidden = false;
    timer = setInterval(retry, RETRY_MS);
  });
  connection.addEventListener("back", () => {
    clearInterval(timer);
    banner.hidden = true;
    notice("The studio answers again.");
    onback();
  });
}
