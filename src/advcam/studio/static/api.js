/** The studio's HTTP interface: one function for each thing that can be asked. */

import { decodeMaps, decodeMask, encodeMask } from "./wire.js";

/** What the server refused, in its own sentence. */
export class ApiError extends Error {
  /** @param {number} status HTTP status, 0 where no answer came @param {string} message @param {any} [body] */
  constructor(status, message, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** Tells "gone" when the server stops answering and "back" when it answers again. */
export const connection = new EventTarget();
let gone = false;

function setGone(now) {
  if (gone === now) return;
  gone = now;
  connection.dispatchEvent(new Event(now ? "gone" : "back"));
}

/** @returns {Promise<Response>} a response that is fine; everything else is thrown as ApiError */
async function ask(path, { method = "GET", body, headers = {}, signal, keepalive } = {}) {
  let response;
  try {
    const changes = method === "GET" ? {} : { "X-Advcam": "1" };
    response = await fetch(`api/${path}`, { method, body, signal, keepalive, headers: { ...changes, ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    setGone(true);
    throw new ApiError(0, "The studio does not answer. Is the command still running?");
  }
  setGone(false);
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const detail = typeof answer.detail === "string" ? answer.detail : `The studio answered ${response.status} ${response.statusText}.`;
  throw new ApiError(response.status, detail, answer);
}

const json = async (path, options) => (await ask(path, options)).json();
const bytes = async (path, options) => (await ask(path, options)).arrayBuffer();
const send = (path, method, value) =>
  json(path, { method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

/** @returns {Promise<any>} null where the server has none (404) */
async function orNull(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

const path = (parts) => parts.map(encodeURIComponent).join("/");

export const api = {
  run: () => json("run"),
  /** @param {URLSearchParams} query */
  pictures: (query, signal) => json(`pictures?${query}`, { signal }),
  picture: (n) => json(path(["pictures", n])),
  imageUrl: (n) => `api/pictures/${n}/image?side=1400`,
  thumbnailUrl: (n, mask, revision) => `api/pictures/${n}/thumbnail?mask=${mask}&r=${revision}`,
  maps: async (n, stage) => decodeMaps(await bytes(path(["pictures", n, "maps", stage]))),
  mask: async (n, set) => {
    const found = await orNull(bytes(path(["pictures", n, "masks", set])));
    return found && decodeMask(found);
  },
  saveMask: (n, mask, revision) =>
    json(`pictures/${n}/mask?revision=${revision}`, {
      method: "PUT", body: encodeMask(mask), headers: { "Content-Type": "application/octet-stream" },
    }),
  discardMask: (n, revision) => json(`pictures/${n}/mask?revision=${revision}`, { method: "DELETE" }),
  setStatus: (n, status, revision) => send(`pictures/${n}/status`, "PUT", { status, revision }),
  drop: (file) => json("drops", { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" } }),
  dropImageUrl: (drop) => `api/${path(["drops", drop, "image"])}?side=1400`,
  findClasses: async (text, signal) => (await json(`classifier/classes?${new URLSearchParams({ text })}`, { signal })).classes,
  climb: async (facts) => (await send("climbs", "POST", facts)).job,
  export: async (format, only) => (await send("exports", "POST", { format, only })).job,
  job: (job) => json(path(["jobs", job])),
  /** Also while the page is being closed. */
  cancel: (job) => ask(path(["jobs", job]), { method: "DELETE", keepalive: true }),
  jobMaps: async (job) => decodeMaps(await bytes(path(["jobs", job, "maps"]))),
  jobFileUrl: (job) => `api/${path(["jobs", job, "file"])}`,
};
