/** Elements from code: text is always text, never markup. */

/**
 * @param {string} tag e.g. "button.primary"
 * @param {Record<string, any>} [facts] properties; `on...` listeners, `aria` and `data` objects, `style` custom properties
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {any}
 */
export function el(tag, facts = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(facts)) set(element, key, value);
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

function set(element, key, value) {
  if (value === undefined || value === null) return;
  if (key === "aria") for (const [name, text] of Object.entries(value)) element.setAttribute(`aria-${name}`, String(text));
  else if (key === "data") Object.assign(element.dataset, value);
  else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
  else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "role" || key === "for") element.setAttribute(key, value);
  else element[key] = value;
}

/** A button; `key` is the key that does the same. */
export function button(label, run, { key, title, kind = "", ...facts } = {}) {
  const hint = title ?? (key ? `${label} (${key})` : undefined);
  const face = key ? [label, " ", el("kbd", { aria: { hidden: true } }, key)] : [label];
  return el(kind ? `button.${kind}` : "button", { type: "button", title: hint, onclick: run, ...facts }, ...face);
}

/** A small square in the colour of a class. */
export const swatch = (colour) => el("i.swatch", { style: { "--colour": colour }, aria: { hidden: true } });

/** A slider with its name and value; `show` writes the value for people. */
export function slider({ label, name, min, max, step, value, show = String, onchange, hint }) {
  const output = el("output", {}, show(value));
  const input = el("input", { type: "range", name, min, max, step, title: hint, aria: hint ? { label, description: hint } : { label } });
  input.value = String(value);
  const row = el("label.slider", { title: hint }, el("span", {}, label), input, output);
  const set_ = (number) => {
    input.value = String(number);
    output.textContent = show(Number(input.value));
  };
  input.addEventListener("input", () => {
    set_(input.value);
    onchange(Number(input.value));
  });
  return { row, input, set: set_ };
}

export const percent = (share) => (share === null || share === undefined ? "–" : share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);
export const decimals = (value, digits = 2) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits));
export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
