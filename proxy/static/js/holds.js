/**
 * Rooms that rest after a retryable refusal, each with a wait of its own. Requests
 * refused together are repeated together, and so in order.
 */

import { Backoff } from './backoff.js';
import { ticks } from './clock.js';

const BOUNDS = { base: 500, cap: 10_000 };

export class Holds {
  /** @type {Map<string, {backoff: Backoff, until: number, timer?: ReturnType<typeof setTimeout>}>} */
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
   * goes on as it is, unless the server asks for longer.
   *
   * @param {string} roomId
   * @param {number} [atLeast] milliseconds that the server asked for
   */
  hold(roomId, atLeast = 0) {
    const hold = this.#holds.get(roomId) ?? {
      backoff: new Backoff({ ...BOUNDS, random: this.#random }),
      until: 0,
    };
    this.#holds.set(roomId, hold);
    const wait = Math.max(atLeast, hold.timer === undefined ? hold.backoff.next() : 0);
    if (hold.timer !== undefined && ticks() + wait <= hold.until) return;
    hold.until = ticks() + wait;
    clearTimeout(hold.timer);
    hold.timer = setTimeout(() => {
      hold.timer = undefined;
      this.#then();
    }, wait);
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
