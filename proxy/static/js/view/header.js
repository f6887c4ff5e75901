/**
 * The head of the page and of the room: title, problem of the room.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { t } from '../texts.js';
import { byId, setText } from './dom.js';

export class HeaderView {
  #title = byId('room-title', HTMLElement);
  #leave = byId('leave', HTMLButtonElement);
  #error = byId('room-error', HTMLElement);
  #errorText = byId('room-error-text', HTMLElement);

  /** @param {{onLeave: () => void, onRejoin: () => void}} handlers */
  constructor({ onLeave, onRejoin }) {
    this.#leave.addEventListener('click', onLeave);
    byId('rejoin', HTMLButtonElement).addEventListener('click', onRejoin);
  }

  focus() {
    this.#title.focus();
  }

  /** @param {Store} store */
  render({ current: room, unreadTotal }) {
    document.title = `${unreadTotal ? `(${unreadTotal}) ` : ''}${room ? `${room.id} · ` : ''}Chat`;
    setText(this.#title, room?.id ?? t('room.none'));
    this.#leave.hidden = !room;
    this.#error.hidden = !room?.error;
    setText(this.#errorText, room?.error ? t('room.not_in', { reason: room.error }) : '');
  }
}
