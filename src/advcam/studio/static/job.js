/** Heavy work on the server, followed to its end. */

import { api } from "./api.js";

const POLL_MS = 400;
const ENDED = ["done", "cancelled", "failed"];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Ask about a job until it has ended. A server that is away for a while is asked again.
 * @param {string} job @param {(state: any) => void} onstate @param {AbortSignal} signal ends the asking
 * @returns {Promise<any>} its last state
 */
export async function follow(job, onstate, signal) {
  for (;;) {
    signal.throwIfAborted();
    try {
      const state = await api.job(job);
      onstate(state);
      if (ENDED.includes(state.state)) return state;
    } catch (error) {
      if (error.status !== 0) throw error;
    }
    await pause(POLL_MS);
  }
}

/** Where a job stands, for people. */
export function describe({ state, position, done, total, detail }, noun) {
  if (state === "queued") return position > 0 ? `Waiting: ${position} before it.` : "Waiting for its turn.";
  if (state === "running") return total ? `${done} of ${total} ${noun}` : detail || "Getting ready…";
  return { done: "Done.", cancelled: `Cancelled${detail ? `: ${detail}` : "."}`, failed: detail || "It failed." }[state];
}
