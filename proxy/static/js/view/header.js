/**
 * The head of the page and of the room: title, problem of the room.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { titleOf } from '../info.js';
import { t } from '../texts.js';
import { byId, setText } from './dom.js';

export class HeaderView {
  #title = byId('room-title', HTMLElement);
  #topic = byId('room-topic', HTMLButtonElement);
  #error = byId('room-error', HTMLElement);
  #errorText = byId('room-error-text', HTMLElement);

  /** @param {{onTopic: () => void, onRejoin: () => void}} handlers */
  constructor({ onTopic, onRejoin }) {
    this.#topic.addEventListener('click', onTopic);
    byId('rejoin', HTMLButtonElement).addEventListener('click', onRejoin);
  }

  focus() {
    this.#title.focus();
  }

  /** @param {Store} store */
  render({ current: room, unreadTotal }) {
    const title = `${unreadTotal ? `(${unreadTotal}) ` : ''}${room ? `${titleOf(room)} · ` : ''}Chat`;
    if (title !== document.title) document.title = title;
    setText(this.#title, room ? titleOf(room) : t('room.none'));
    this.#topic.hidden = !room?.topic;
    setText(this.#topic, room?.topic ?? '');
    this.#error.hidden = !room?.error;
    setText(this.#errorText, room?.error ? t('room.not_in', { reason: room.error }) : '');
  }
}
