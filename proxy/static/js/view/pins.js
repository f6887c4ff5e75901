/**
 * The pinned messages of the room, as far as they are known: a button in the header, and a list.
 *
 * @typedef {{seq: number, message: import('../protocol.js').ChatMessage | null}} Pin
 */

import { firstWords } from '../look.js';
import { onLanguage, t } from '../texts.js';
import { byId, setText } from './dom.js';
import { Popup } from './popup.js';
import { dayName, timeOf } from './times.js';

export class Pins {
  #button = byId('pins-button', HTMLButtonElement);
  #popup = new Popup(byId('pins', HTMLElement));
  #list = byId('pins-list', HTMLOListElement);
  #onGo;
  /** @type {Pin[]} */
  #pinned = [];
  /** @type {import('../people.js').People | null} */
  #people = null;

  /** @param {(seq: number) => void} onGo */
  constructor(onGo) {
    this.#onGo = onGo;
    onLanguage(() => {
      this.#pinned = [];
    });
    this.#button.addEventListener('click', () => this.#toggle());
    this.#list.addEventListener('click', ({ target }) => {
      const item = target instanceof Element ? target.closest('button') : null;
      if (!item) return;
      this.#popup.close({ refocus: false });
      this.#onGo(Number(item.dataset.seq));
    });
  }

  /**
   * @param {Pin[]} pinned oldest first
   * @param {import('../people.js').People} people
   */
  render(pinned, people) {
    this.#people = people;
    const same = pinned.length === this.#pinned.length && pinned.every((one, nth) => isSame(one, this.#pinned[nth]));
    if (same) return;
    this.#pinned = pinned;
    const count = pinned.length;
    this.#button.hidden = count === 0;
    setText(byId('pins-count', HTMLElement), String(count));
    setText(byId('pins-label', HTMLElement), t('pins.count', { count }));
    if (!this.#popup.isOpen) return;
    if (count === 0) this.#popup.close();
    else this.#fill();
  }

  #toggle() {
    if (this.#popup.isOpen) {
      this.#popup.close();
      return;
    }
    this.#fill();
    this.#popup.open(this.#button);
    this.#list.querySelector('button')?.focus();
  }

  #fill() {
    this.#list.replaceChildren(...this.#pinned.map((pin) => itemOf(pin, this.#people)).reverse());
  }
}

/**
 * @param {Pin} one
 * @param {Pin} other
 */
function isSame(one, other) {
  return one.seq === other.seq && one.message === other.message;
}

/**
 * @param {Pin} pin
 * @param {import('../people.js').People | null} people
 */
function itemOf({ seq, message }, people) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'pins-item';
  button.dataset.seq = String(seq);
  item.append(button);
  if (!message) {
    button.textContent = t('pins.far');
    return item;
  }
  const { sender_id: sender, content, sent_at: sent } = message;
  const head = document.createElement('span');
  head.className = 'pins-head';
  const name = document.createElement('bdi');
  name.textContent = people?.shown(sender) ?? sender;
  const at = new Date(sent);
  const time = document.createElement('span');
  time.className = 'pins-time';
  time.textContent = `${dayName(at)}, ${timeOf(at)}`;
  head.append(name, ' ', time);
  const words = document.createElement('span');
  words.className = 'pins-words';
  words.dir = 'auto';
  words.textContent = firstWords(content);
  button.append(head, words);
  return item;
}
