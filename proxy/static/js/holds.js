/**
 * Rooms that rest after a refusal that may pass, each with a wait of its own. What
 * was refused together is asked again together, and so in its order.
 */

import { Backoff } from './backoff.js';

const BOUNDS = { base: 500, cap: 10_000 };

export class Holds {
  /** @type {Map<string, {backoff: Backoff, timer?: ReturnType<typeof setTimeout>}>} */
  #holds = new Map();
  #then;
  #random;

  /**
   * @param {() => void} then called when a room has rested
   * @param {() => number} random
   */
  constructor(then, random) {
    this.#then = then;
    this.#random = random;
  }

  /** @param {string} roomId */
  holds(roomId) {
    return this.#holds.get(roomId)?.timer !== undefined;
  }

  /**
   * Lets a room rest, longer each time until it is released. One that rests already
   * goes on as it is.
   *
   * @param {string} roomId
   */
  hold(roomId) {
    const hold = this.#holds.get(roomId) ?? {
      backoff: new Backoff({ ...BOUNDS, random: this.#random }),
    };
    this.#holds.set(roomId, hold);
    hold.timer ??= setTimeout(() => {
      hold.timer = undefined;
      this.#then();
    }, hold.backoff.next());
  }

  /** @param {string} roomId of a room where something succeeded, or that is left */
  release(roomId) {
    clearTimeout(this.#holds.get(roomId)?.timer);
    this.#holds.delete(roomId);
  }

  clear() {
    for (const roomId of this.#holds.keys()) this.release(roomId);
  }
}
