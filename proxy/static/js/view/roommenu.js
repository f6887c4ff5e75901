/** The menu of the room. What it offers stands in the document, each with a `data-room-act`. */

import { moved } from '../roving.js';
import { byId } from './dom.js';
import { Popup } from './popup.js';

export class RoomMenu {
  #button = byId('room-menu-button', HTMLButtonElement);
  #box = byId('room-menu', HTMLElement);
  #popup = new Popup(this.#box);

  /** @param {(action: string) => void} onChoose */
  constructor(onChoose) {
    this.#button.addEventListener('click', () => this.#toggle());
    this.#box.addEventListener('keydown', (event) => this.#pressed(event));
    this.#box.addEventListener('click', ({ target }) => {
      const item = target instanceof Element ? target.closest('button') : null;
      if (!item) return;
      this.#popup.close();
      onChoose(item.dataset.roomAct ?? '');
    });
  }

  /** @param {boolean} isIn whether one is in a room */
  render(isIn) {
    this.#button.hidden = !isIn;
  }

  #items() {
    return [...this.#box.querySelectorAll('button')].filter((item) => !item.hidden);
  }

  #toggle() {
    if (this.#popup.isOpen) {
      this.#popup.close();
      return;
    }
    this.#popup.open(this.#button);
    this.#items()[0]?.focus();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const items = this.#items();
    const index = items.findIndex((item) => item === document.activeElement);
    const next = moved(event.key, index, items.length, { wraps: true });
    if (next !== null) items[next].focus();
    else if (event.key === 'Tab') this.#popup.close();
    else return;
    event.preventDefault();
  }
}
