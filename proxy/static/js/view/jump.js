/** Going to a message, from one that answers it or from the list of pins: it is shown, and flashes. */

import { byId } from './dom.js';

/** So long it is marked. */
const FLASH_MS = 1_600;

export class Jump {
  #list = byId('messages', HTMLOListElement);
  #show;
  #focus;
  #onMissing;
  /** @type {{roomId: string, seq: number} | null} where to go once it is loaded */
  #goal = null;

  /**
   * @param {object} outlets
   * @param {(seq: number) => void} outlets.show brings a message of the current room into view, once
   *   it is loaded
   * @param {(message: HTMLElement) => void} outlets.focus
   * @param {() => void} outlets.onMissing there is no such message
   */
  constructor({ show, focus, onMissing }) {
    this.#show = show;
    this.#onMissing = onMissing;
    this.#focus = focus;
  }

  /**
   * @param {string} roomId the current room
   * @param {number} seq
   */
  go(roomId, seq) {
    this.#goal = { roomId, seq };
    this.#show(seq);
    this.#arrive();
  }

  /**
   * Goes on to a message that was loaded meanwhile.
   *
   * @param {import('../room.js').Room | undefined} room the current one
   */
  render(room) {
    if (!this.#goal) return;
    // One who went to another room, or for whom it cannot be loaded, is not taken there later.
    if (room?.id !== this.#goal.roomId || room.historyError) this.#goal = null;
    else this.#arrive();
    const isAtRest = room?.phase === 'joined' && room.loaded && !room.request && room.goal === null;
    if (!this.#goal || !isAtRest) return;
    // It is not there: never, or no longer.
    this.#goal = null;
    this.#onMissing();
  }

  #arrive() {
    const message = this.#list.querySelector(`:scope > [data-seq="${this.#goal?.seq ?? 0}"]`);
    if (!(message instanceof HTMLElement)) return;
    this.#goal = null;
    this.#focus(message);
    message.classList.remove('flash');
    // Begun anew, the animation is seen again.
    void message.offsetWidth;
    message.classList.add('flash');
    setTimeout(() => message.classList.remove('flash'), FLASH_MS);
  }
}
