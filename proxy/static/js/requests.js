/**
 * The requests that are not answered yet, by their request_id.
 *
 * @typedef {object} Asked
 * @property {'send' | 'join' | 'history' | 'changes' | 'change' | 'mark' | 'leave' | 'probe' | 'users'
 *   | 'members' | 'present' | 'names' | 'self' | 'rename' | 'fetch'} kind
 * @property {string} roomId empty where it is about no room
 * @property {string} messageId of a message to be sent, or of a change; else empty
 * @property {Answer | undefined} answer who waits for it, if it is none of the conversation
 * @property {number} at milliseconds of `ticks()`
 * @property {number} deadline when the connection counts as dead without an answer
 *
 * @typedef {object} Answer
 * @property {(body: any) => void} resolve
 * @property {(error: import('./protocol.js').ErrorBody) => void} reject
 */

import { ticks } from './clock.js';
import { t } from './texts.js';

/** How long a request may go unanswered before it is called slow. */
export const SLOW_MS = 3_000;
/** And before the connection is taken for dead. */
export const DEAD_MS = 30_000;

export class Requests {
  #count = 0;
  /** @type {Map<string, Asked>} */
  #open = new Map();

  /**
   * @param {{kind: Asked['kind'], roomId?: string, messageId?: string, answer?: Answer}} about
   * @param {number} patience milliseconds
   * @returns {string} the request_id; none comes twice, so that a late answer fits nothing else
   */
  add({ kind, roomId = '', messageId = '', answer }, patience = DEAD_MS) {
    this.#count += 1;
    const requestId = `r${this.#count}`;
    const at = ticks();
    this.#open.set(requestId, { kind, roomId, messageId, answer, at, deadline: at + patience });
    return requestId;
  }

  /**
   * Takes out the request that an answer belongs to.
   *
   * @param {string} requestId
   * @returns {Asked | undefined}
   */
  take(requestId) {
    const asked = this.#open.get(requestId);
    this.#open.delete(requestId);
    return asked;
  }

  clear() {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { answer } of open) answer?.reject(lost());
  }

  /** @returns {boolean} whether one has waited so long that the user should know */
  get slow() {
    const now = ticks();
    // Who asked for anything else waits for it in view.
    return [...this.#open.values()].some(({ at, answer }) => !answer && now - at > SLOW_MS);
  }

  /** @returns {boolean} whether one has waited so long that no answer will come */
  get dead() {
    const now = ticks();
    return [...this.#open.values()].some(({ deadline }) => now > deadline);
  }
}

/** @returns {import('./protocol.js').ErrorBody} what stands for an answer when there is no connection */
export function lost() {
  return { code: 'UNAVAILABLE', message: t('error.away'), retryable: true };
}
