/** The pictures in the order and choice of the grid, page by page; the large view walks along the same list. */

import { api } from "./api.js";

const PAGE = 60;

/** A query as lists know it: without any, the most doubtful come first. @param {URLSearchParams} query */
export const listQuery = (query) => query.toString() || "sort=doubt";

export class List {
  /** @type {any[]} */ pictures = [];
  total = 0;
  #query = "";
  #loading = null;
  #version = 0;

  /** As in the address of the grid. */
  get query() {
    return this.#query;
  }

  get isComplete() {
    return this.#query !== "" && this.pictures.length >= this.total;
  }

  /** Begin anew. @param {URLSearchParams} query */
  async restart(query) {
    this.#version++;
    [this.pictures, this.total, this.#loading] = [[], 0, null];
    this.#query = listQuery(query);
    await this.more();
  }

  /** Fetch the next page; calls meanwhile wait for the same one. */
  more() {
    this.#loading ??= this.#fetch().finally(() => { this.#loading = null; });
    return this.#loading;
  }

  async #fetch() {
    const version = this.#version;
    const query = new URLSearchParams(this.#query);
    query.set("offset", String(this.pictures.length));
    query.set("limit", String(PAGE));
    const { total, pictures } = await api.pictures(query);
    if (version !== this.#version) return;
    this.total = total;
    this.pictures.push(...pictures);
    if (!pictures.length) this.total = this.pictures.length; // the run shrank meanwhile
  }

  /** Note what changed of a picture. */
  update(n, facts) {
    Object.assign(this.pictures.find((picture) => picture.n === n) ?? {}, facts);
  }

  /**
   * Number of the picture before (-1) or after (1) one, in this order.
   * @param {{n: number, previous: number | null, next: number | null}} facts tell where the picture is not in the list
   * @returns {Promise<number | null>}
   */
  async neighbour(facts, direction) {
    let at = this.pictures.findIndex(({ n }) => n === facts.n);
    if (at < 0) return direction < 0 ? facts.previous : facts.next;
    do {
      at += direction;
      if (at >= this.pictures.length && !this.isComplete) await this.more();
    } while (this.pictures[at]?.problem); // nobody can look at it
    return this.pictures[at]?.n ?? null;
  }

  /** Place in the list from 1 on, or null. */
  placeOf(n) {
    const at = this.pictures.findIndex((picture) => picture.n === n);
    return at < 0 ? null : at + 1;
  }
}
