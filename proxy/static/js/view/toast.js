/** Says for a while what was done, and offers to undo it. */

import { byId, setText } from './dom.js';

const SHOWN_MS = 10_000;
/** Nothing has to be decided, and it lies over messages. */
const SAID_MS = 5_000;

export class Toast {
  #box = byId('toast', HTMLElement);
  #text = byId('toast-text', HTMLElement);
  #button = byId('toast-button', HTMLButtonElement);
  #onAct = () => {};
  #onEnd = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    this.#button.addEventListener('click', () => {
      this.#onEnd = () => {};
      this.hide();
      this.#onAct();
    });
    // Whoever reaches for the button has the time to.
    for (const type of ['pointerenter', 'focusin']) this.#box.addEventListener(type, () => clearTimeout(this.#timer));
    for (const type of ['pointerleave', 'focusout']) this.#box.addEventListener(type, () => this.#wait());
  }

  /**
   * @param {string} text
   * @param {string} [action] what the button says; empty for none
   * @param {() => void} [onAct]
   * @param {() => void} [onEnd] it is said no longer, and nobody has acted
   */
  show(text, action = '', onAct = () => {}, onEnd = () => {}) {
    this.#onEnd();
    this.#onEnd = onEnd;
    this.#box.hidden = false;
    setText(this.#text, text);
    this.#button.hidden = action === '';
    setText(this.#button, action);
    this.#onAct = onAct;
    this.#wait();
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.hide(), this.#button.hidden ? SAID_MS : SHOWN_MS);
  }

  /** Says it no longer. */
  hide() {
    clearTimeout(this.#timer);
    this.#box.hidden = true;
    this.#onEnd();
    this.#onEnd = () => {};
  }
}
