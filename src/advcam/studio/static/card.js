/** One picture of the grid. */

import { api } from "./api.js";
import { decimals, el, percent, swatch } from "./dom.js";

/** Words and signs of the states. */
export const STATUS = {
  open: { word: "Open", sign: "" },
  accepted: { word: "Accepted", sign: "✓" },
  rejected: { word: "Rejected", sign: "✕" },
  corrected: { word: "Corrected", sign: "✎" },
  unreadable: { word: "Unreadable", sign: "!" },
};

const MOST_CHIPS = 3;

export function badge(status) {
  const { word, sign } = STATUS[status];
  return el(`span.badge.${status}`, {}, el("span", { aria: { hidden: true } }, sign), word);
}

function chips(studio, { labels, vanished }) {
  const names = new Map(studio.run.classes.map(({ number, name }) => [number, name]));
  const shown = [...vanished, ...labels.filter((number) => !vanished.includes(number))];
  const items = shown.slice(0, MOST_CHIPS).map((number) => {
    const isGone = vanished.includes(number);
    const name = names.get(number) ?? `class ${number}`;
    const title = isGone ? `${name} is in the labels, but has no pixel in the mask` : name;
    return el(isGone ? "li.vanished" : "li", { title }, swatch(studio.palette.css(number)), el("span", {}, name), isGone && el("span.hidden", {}, " (has no pixel)"));
  });
  if (shown.length > MOST_CHIPS) items.push(el("li.more", { title: shown.slice(MOST_CHIPS).map((number) => names.get(number)).join(", ") }, `+${shown.length - MOST_CHIPS}`));
  return el("ul.chips", {}, ...items);
}

/** What the doubt is made of, in a sentence. */
function doubtHint({ doubt, confidence, disagreement, vanished }) {
  if (doubt === null) return "Not known yet: the maps are being read.";
  const parts = [
    vanished.length ? `${vanished.length === 1 ? "a labelled class has" : `${vanished.length} labelled classes have`} no pixel, which counts as one half` : "",
    confidence === null ? "" : `confidence ${decimals(confidence)}`,
    disagreement === null ? "" : `first and last maps disagree about ${percent(disagreement)} of the foreground`,
  ].filter(Boolean);
  return `Doubt ${decimals(doubt)} of 1: ${parts.join("; ") || "nothing speaks against the mask"}.`;
}

function facts(picture) {
  const { doubt, iou } = picture;
  const width = `${Math.round(Math.min(1, Math.max(0, doubt ?? 0)) * 100)}%`;
  return el("div.doubt", { title: doubtHint(picture) },
    el("span.bar", { aria: { hidden: true } }, el("i", { style: { "--width": width } })),
    el("span", {}, `doubt ${decimals(doubt)}`), el("span.hidden", {}, ` ${doubtHint(picture)}`),
    iou !== null && iou !== undefined && el("span.iou", { title: "Intersection over union with the ground truth" }, `IoU ${decimals(iou)}`));
}

/** @param {import("./main.js").Studio} studio @param {any} picture of the list @param {"final" | "none"} mask */
export function card(studio, picture, mask) {
  const name = picture.id.split("/").at(-1);
  if (picture.problem) return brokenCard(picture, name);
  const image = el("img", { src: api.thumbnailUrl(picture.n, mask, picture.revision), alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span.broken", {}, "cannot be read")));
  const link = el("a", { href: `#/picture/${picture.n}`, title: picture.id, aria: { label: `${picture.id}, ${STATUS[picture.status].word}` } },
    el("span.thumb", {}, image), el("span.status"), el("span.name", {}, el("bdi", {}, name)));
  const item = el("li", { data: { n: picture.n } }, link, chips(studio, picture), facts(picture));
  updateCard(item, picture);
  return item;
}

/** A picture that nobody can look at: it says why, and asks the server for nothing. */
function brokenCard({ n, id, problem }, name) {
  return el("li.unreadable", { data: { n, status: "unreadable" } },
    el("span.thumb", {}, el("span.broken", {}, problem)), el("span.status", {}, badge("unreadable")), el("span.name", { title: id }, el("bdi", {}, name)));
}

/** Show the status that a picture has now. */
export function updateCard(item, { status, id }) {
  item.dataset.status = status;
  item.querySelector("a").setAttribute("aria-label", `${id}, ${STATUS[status].word}`);
  item.querySelector(".status").replaceChildren(...(status === "open" ? [] : [badge(status)]));
}

/** Show thumbnails with or without their mask. */
export function setThumbnails(cards, mask) {
  for (const image of cards.querySelectorAll("img")) image.src = image.src.replace(/mask=\w+/, `mask=${mask}`);
}
