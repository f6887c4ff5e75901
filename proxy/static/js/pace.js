/**
 * How often a screen reader is told of new messages: at once in a conversation, but where there
 * is more than one can listen to, at most once in BUSY_MS. Pure: the clock is passed in.
 */

/** Messages within this time are told together. */
export const TOGETHER_MS = 400;
/** More than so many in BUSY_MS are only counted. */
export const MOST = 3;
export const BUSY_MS = 5_000;

export class Pace {
  /** @type {number[]} when the latest messages came */
  #heard = [];
  #toldAt = -Infinity;

  /**
   * Notes a message.
   *
   * @param {number} now milliseconds
   * @returns {number} in how many milliseconds those that wait are to be told
   */
  hear(now) {
    this.#heard = [...this.#heard.slice(-MOST), now].filter((at) => now - at < BUSY_MS);
    const isBusy = this.#heard.length > MOST;
    return Math.max(TOGETHER_MS, isBusy ? this.#toldAt + BUSY_MS - now : 0);
  }

  /**
   * @param {number} now milliseconds, when those that waited are told
   */
  told(now) {
    this.#toldAt = now;
  }
}
