/**
 * What is new in the room and not in view: how much, since when, a way there, and a way to
 * be done with it.
 *
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 */

import { indexOf } from '../messages.js';
import { PAGE_SIZE } from '../protocol.js';
import { unread } from '../reading.js';
import { t } from '../texts.js';
import { byId, setText } from './dom.js';
import { sinceWhen } from './times.js';

export class PillView {
  #pill = byId('pill', HTMLElement);
  #jump = byId('pill-jump', HTMLButtonElement);
  /** The first unread message, and when it was sent. */
  #first = { roomId: '', seq: 0, at: '' };

  /** @param {{onJump: () => void, onRead: () => void}} handlers */
  constructor({ onJump, onRead }) {
    this.#jump.addEventListener('click', onJump);
    byId('pill-read', HTMLButtonElement).addEventListener('click', onRead);
  }

  /** Whether it is shown. */
  get isShown() {
    return !this.#pill.hidden;
  }

  /**
   * @param {Store} store
   * @param {import('../store.js').View} view what is in view of the current room
   */
  render({ current: room }, view) {
    const isAbove = room !== undefined && isSkipped(room, view);
    this.#pill.hidden = !room?.loaded || !(isAbove || unread(room) > PAGE_SIZE);
    if (!room || this.#pill.hidden) return;
    this.#jump.classList.toggle('above', isAbove);
    const since = this.#since(room);
    const time = since && sinceWhen(new Date(since));
    setText(this.#jump, t(time ? 'pill.since' : 'pill.new', { count: unread(room), time }));
  }

  /**
   * @param {Room} room
   * @returns {string} when the first unread message was sent; empty if it was not loaded yet
   */
  #since({ id, messages, readSeq }) {
    const seq = (readSeq ?? 0) + 1;
    const at = messages[indexOf(messages, seq)]?.sent_at;
    if (at) this.#first = { roomId: id, seq, at };
    return this.#first.roomId === id && this.#first.seq === seq ? this.#first.at : '';
  }
}

/**
 * @param {Room} room
 * @param {import('../store.js').View} view
 * @returns {boolean} whether unread messages are above what is in view
 */
function isSkipped(room, { first, last }) {
  return unread(room) > 0 && last >= first && first > (room.readSeq ?? 0) + 1;
}
