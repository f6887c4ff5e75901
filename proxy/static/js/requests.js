/**
 * The requests that are not answered yet, by their request_id: they are sent here, and met again when
 * a frame answers them.
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
 * @typedef {{kind: Asked['kind'], roomId?: string, messageId?: string, answer?: Answer}} About
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
  /** @type {Map<string, Asked>} answered joins: their replay may still fail */
  #joins = new Map();
  #send;

  /** @param {(text: string) => void} send */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Sends a request.
   *
   * @param {object} payload
   * @param {About} about
   * @param {number} [patience] milliseconds until the connection counts as dead
   * @returns {string} the request_id; none comes twice, so that a late answer fits nothing else
   */
  ask(payload, { kind, roomId = '', messageId = '', answer }, patience = DEAD_MS) {
    this.#count += 1;
    const requestId = `r${this.#count}`;
    const at = ticks();
    this.#open.set(requestId, { kind, roomId, messageId, answer, at, deadline: at + patience });
    this.#send(JSON.stringify({ request_id: requestId, ...payload }));
    return requestId;
  }

  /**
   * Sends a request whose answer only the caller looks at.
   *
   * @param {object} payload
   * @returns {Promise<any>} the body of the answer; rejected with an `ErrorBody`
   */
  fetch(payload) {
    return new Promise((resolve, reject) => this.ask(payload, { kind: 'fetch', answer: { resolve, reject } }));
  }

  /**
   * Takes out the request that a frame answers. If somebody waits for the answer, that one has it.
   *
   * @param {import('./protocol.js').ServerFrame} frame
   * @returns {Asked | undefined}
   */
  take({ kind, requestId, body }) {
    const asked = this.#open.get(requestId) ?? this.#joins.get(requestId);
    this.#open.delete(requestId);
    if (kind === 'joined' && asked) this.#joins.set(requestId, asked);
    if (kind === 'error') asked?.answer?.reject(body);
    else asked?.answer?.resolve(body);
    return asked;
  }

  clear() {
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#joins.clear();
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
