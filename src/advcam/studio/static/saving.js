/** Saving the corrected mask of a picture, and what to do where somebody else was faster. */

import { api } from "./api.js";
import { ask } from "./dialogs.js";

export class Saving {
  /** @param {import("./subject.js").Subject} subject @param {(review: {status: string, revision: number}) => void} onreview */
  constructor(subject, onreview) {
    Object.assign(this, { subject, onreview });
  }

  /**
   * Save; where another tab saved since, ask what shall stay.
   * @param {import("./wire.js").Mask} mask
   * @returns {Promise<"saved" | "theirs" | "kept">} "theirs": the person wants to see what the other tab saved
   */
  async save(mask, revision = this.subject.facts.revision) {
    try {
      this.onreview(await api.saveMask(this.subject.n, mask, revision));
      return "saved";
    } catch (error) {
      if (error.status !== 409) throw error;
      return this.#settle(mask, error.body);
    }
  }

  /** Back to the mask that the run made, once the person has said so. @returns {Promise<boolean>} whether it counts again */
  async discard() {
    const answer = await ask({
      title: "Back to the run's own mask?",
      text: "Your corrected mask of this picture is deleted. What you painted can be taken back with z while the picture stays open.",
      choices: [{ label: "Keep mine", value: "" }, { label: "Back to the run's", value: "yes", kind: "danger" }],
    });
    return answer === "yes" && this.#discard(this.subject.facts.revision);
  }

  async #settle(mask, theirs) {
    const answer = await ask({
      title: "Another tab changed this picture meanwhile",
      text: "Nothing of yours is lost. Load theirs to look at it: z brings yours back. Or save yours over it.",
      choices: [{ label: "Keep painting", value: "" }, { label: "Load theirs", value: "theirs" }, { label: "Save mine over it", value: "mine", kind: "danger" }],
    });
    if (answer === "mine") return this.save(mask, theirs.revision);
    if (answer === "theirs") this.onreview({ status: theirs.status, revision: theirs.revision });
    return answer === "theirs" ? "theirs" : "kept";
  }

  async #discard(revision) {
    try {
      this.onreview(await api.discardMask(this.subject.n, revision));
      return true;
    } catch (error) {
      if (error.status !== 409) throw error;
      const answer = await ask({
        title: "Another tab changed this picture meanwhile",
        text: "Go back to the run's own mask all the same? What the other tab saved is deleted.",
        choices: [{ label: "Keep theirs", value: "" }, { label: "Back to the run's", value: "yes", kind: "danger" }],
      });
      return answer === "yes" && this.#discard(error.body.revision);
    }
  }
}
