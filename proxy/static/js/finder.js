/**
 * Asks the server for the rooms that there are, while somebody chooses one.
 *
 * @typedef {import('./directory.js').Directory} Directory
 * @typedef {'idle' | 'loading' | 'known' | 'failed' | 'absent'} State `absent`: a server of before
 *   lists no rooms
 */

import { ticks } from './clock.js';

/** A list is good for so long while somebody types, in milliseconds. */
export const LISTED_MS = 5_000;
/** A name is asked for when nothing was typed for so long, in milliseconds. */
export const TYPING_MS = 200;
const PAGE = 100;

export class Finder {
  /** @type {State} */
  state = 'idle';
  #directory;
  #fetch;
  #onChange;
  #query = '';
  #listedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waiting;

  /**
   * @param {Directory} directory
   * @param {object} outlets
   * @param {(payload: object) => Promise<any>} outlets.fetch asks the server
   * @param {() => void} outlets.onChange
   */
  constructor(directory, { fetch, onChange }) {
    this.#directory = directory;
    this.#fetch = fetch;
    this.#onChange = onChange;
  }

  /** @returns {boolean} whether the server has said which rooms there are for what was typed */
  get isSure() {
    return this.state === 'known' && this.#waiting === undefined;
  }

  /**
   * Begins anew: what is listed may be old.
   *
   * @param {string} [userId] whose marks are asked for
   */
  open(userId = '') {
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#directory.isComplete = false;
    void this.#ask('', userId);
  }

  /**
   * @param {string} query
   * @param {string} [userId]
   */
  typed(query, userId = '') {
    const { isComplete } = this.#directory;
    if (this.state === 'absent' || (isComplete ? ticks() - this.#listedAt < LISTED_MS : query === this.#query)) return;
    clearTimeout(this.#waiting);
    // Of a list that was complete, all is asked for again: rooms may have come since.
    this.#waiting = setTimeout(() => void this.#ask(isComplete ? '' : query, userId), TYPING_MS);
  }

  /**
   * @param {string} query
   * @param {string} userId
   */
  async #ask(query, userId) {
    this.#waiting = undefined;
    this.#query = query;
    if (this.state !== 'known') this.#turn('loading');
    try {
      // Longer than any name, it fits none.
      const payload = { user_id: userId, page_size: PAGE, query: [...query].slice(0, 64).join('') };
      const { rooms, next_page_token: next } = await this.#fetch({ list_rooms: payload });
      if (this.#query !== query) return;
      if (query === '') {
        this.#directory.clear();
        this.#listedAt = ticks();
        this.#directory.isComplete = next === '';
      }
      this.#directory.take(rooms);
      this.#turn('known');
    } catch (error) {
      const { code } = /** @type {import('./protocol.js').ErrorBody} */ (error);
      if (this.#query === query) this.#turn(code === 'UNIMPLEMENTED' ? 'absent' : 'failed');
    }
  }

  /** @param {State} state */
  #turn(state) {
    this.state = state;
    this.#onChange();
  }
}
