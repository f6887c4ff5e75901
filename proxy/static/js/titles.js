/**
 * The part of the conversation that is about what rooms are called: asked once for each room on
 * each connection, when one is in it; what changes from then on is told.
 *
 * @typedef {import('./store.js').Store} Store
 */

/** The server gives so many at once. */
const MOST = 500;

export class Titles {
  #store;
  #fetch;
  /** @type {Map<string, string>} the epoch of each room that was asked for */
  #asked = new Map();
  #works = false;

  /**
   * @param {Store} store
   * @param {(payload: object) => Promise<any>} fetch
   */
  constructor(store, fetch) {
    this.#store = store;
    this.#fetch = fetch;
  }

  /** Takes a new connection. */
  opened() {
    this.#asked.clear();
    this.#works = true;
  }

  /** Takes the loss of the connection. */
  lost() {
    this.#works = false;
  }

  /** @returns {Promise<void>} done when those that were missing are known */
  async settle() {
    const rooms = [...this.#store.rooms.values()];
    // Those that are joined together are asked for together.
    if (!this.#works || rooms.some(({ phase }) => phase === 'joining')) return;
    // In a history that replaced another one, it may have another title.
    const due = rooms.filter(({ id, epoch, phase }) => phase === 'joined' && this.#asked.get(id) !== epoch).slice(0, MOST);
    if (due.length === 0) return;
    const ids = due.map(({ id }) => id);
    for (const { id, epoch } of due) this.#asked.set(id, epoch);
    try {
      const { rooms: listed } = await this.#fetch({ list_rooms: { room_ids: ids, page_size: MOST } });
      this.#store.learnRooms(listed ?? []);
    } catch {
      // A server of before lists none: rooms have their names.
      this.#works = false;
    }
  }
}
