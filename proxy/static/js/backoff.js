/**
 * Waiting times between tries: full jitter, so that clients that lost the same
 * server do not come back in step. Each is drawn evenly from 0 to a bound that
 * doubles with every try.
 */

export class Backoff {
  #tries = 0;
  #base;
  #cap;
  #random;

  /**
   * @param {{base: number, cap: number, random?: () => number}} options bounds in
   *   milliseconds: of the first wait, and of any
   */
  constructor({ base, cap, random = Math.random }) {
    this.#base = base;
    this.#cap = cap;
    this.#random = random;
  }

  /** @returns {number} milliseconds to wait before the next try */
  next() {
    const bound = Math.min(this.#cap, this.#base * 2 ** this.#tries);
    this.#tries += 1;
    return this.#random() * bound;
  }

  reset() {
    this.#tries = 0;
  }
}
