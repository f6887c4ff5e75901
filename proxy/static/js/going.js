/**
 * Going to rooms and leaving them, by way of the address, so that the browser's Back leads back
 * and each place has an address of its own.
 *
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 *
 * @typedef {object} Outlets
 * @property {() => void} takeToken takes a token out of the address, if it has one
 * @property {(room: string, problem: string) => void} onAsk a name is missing, or this is none of a room
 * @property {(seq: number) => void} onOpen a room is the current one; `seq` of a message in it, or 0
 * @property {(room: Room, undo: (() => void) | null) => void} onLeft it is the current one no longer
 */

import { hashOf, placeInHash } from './location.js';
import { applyDisconnect } from './room.js';
import { nameProblem } from './rules.js';

export class Going {
  #store;
  #sync;
  #layers;
  #out;

  /**
   * @param {Store} store
   * @param {import('./sync.js').Sync} sync
   * @param {Pick<import('./view/layers.js').Layers, 'afterwards' | 'isOnTop'>} layers
   * @param {Outlets} outlets
   */
  constructor(store, sync, layers, outlets) {
    this.#store = store;
    this.#sync = sync;
    this.#layers = layers;
    this.#out = outlets;
  }

  /**
   * Goes to a room, or to a message in it.
   *
   * @param {string} id
   * @param {number} [seq] 0: to the room
   */
  goTo(id, seq = 0) {
    this.#layers.afterwards(() => {
      const { room } = placeInHash(location.hash);
      const hash = hashOf(id, seq);
      if (room === id && (seq === 0 || location.hash === hash)) this.follow();
      // Back is to lead to where one was, not to a page without a room or to a dialog.
      else if (room === '' || this.#layers.isOnTop) this.#replace(hash);
      else location.hash = hash;
    });
  }

  /** @param {string} hash */
  #replace(hash) {
    history.replaceState(null, '', hash);
    this.follow();
  }

  /** Opens what the address names. */
  follow() {
    this.#out.takeToken();
    const { room, seq } = placeInHash(location.hash);
    const { self, currentId } = this.#store;
    if (room === '') {
      if (currentId) history.replaceState(null, '', hashOf(currentId));
      return;
    }
    const problem = nameProblem(room, 'room');
    if (!self || problem) this.#out.onAsk(room, problem);
    else this.#open(room, seq);
  }

  /**
   * @param {string} id
   * @param {number} seq
   */
  #open(id, seq) {
    this.#store.addRoom(id);
    this.#store.select(id);
    this.#sync.settle();
    this.#out.onOpen(seq);
  }

  /**
   * Takes the user out of a room.
   *
   * @param {string} id
   * @param {{canUndo?: boolean}} [options] whether it can be undone
   */
  leave(id, { canUndo = false } = {}) {
    const room = this.#store.rooms.get(id);
    if (!room) return;
    const wasCurrent = id === this.#store.currentId;
    this.#sync.leave(id);
    const undo = () => {
      applyDisconnect(room);
      this.#store.putBack(room);
      this.#sync.settle();
      if (wasCurrent) this.goTo(id);
    };
    this.#layers.afterwards(() => {
      const next = this.#store.currentId;
      const address = next ? hashOf(next) : location.pathname + location.search;
      if (wasCurrent) history.replaceState(null, '', address);
      if (wasCurrent || canUndo) this.#out.onLeft(room, canUndo ? undo : null);
    });
  }
}
