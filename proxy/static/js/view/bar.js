/**
 * The bar at the corner of a bubble. There is one: it is put into the message that is under the
 * pointer or has the focus.
 *
 * @typedef {'react' | 'reply' | 'more'} BarAction
 */

import { byId, fromTemplate } from './dom.js';

export class Bar {
  #bar = fromTemplate('bar-template');
  #list = byId('messages', HTMLOListElement);
  #handlers;
  /** @type {HTMLElement | null} */
  #message = null;

  /**
   * @param {object} handlers
   * @param {(message: HTMLElement) => string[]} handlers.offers what may be done to a message
   * @param {(action: BarAction, message: HTMLElement, button: HTMLElement) => void} handlers.onAct
   * @param {() => boolean} handlers.isBusy whether something is open that the bar belongs to
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#list.addEventListener('pointerover', ({ pointerType, target }) => {
      if (pointerType === 'mouse') this.#show(messageOf(target));
    });
    byId('log', HTMLElement).addEventListener('pointerleave', () => this.#show(this.#focused()));
    this.#list.addEventListener('focusin', ({ target }) => this.#show(messageOf(target)));
    this.#list.addEventListener('focusout', ({ relatedTarget }) => {
      if (!messageOf(relatedTarget)) this.#show(null);
    });
    this.#bar.addEventListener('click', ({ target }) => {
      const button = target instanceof Element ? target.closest('button') : null;
      if (!button || !this.#message) return;
      handlers.onAct(/** @type {BarAction} */ (button.dataset.bar), this.#message, button);
    });
  }

  /** The button that a menu of this message is put beside. */
  get moreButton() {
    return /** @type {HTMLElement} */ (this.#bar.querySelector('[data-bar="more"]'));
  }

  /**
   * Puts the bar into a message that the keyboard acts upon.
   *
   * @param {HTMLElement} message
   */
  moveTo(message) {
    this.#show(message);
  }

  /** @returns {HTMLElement | null} the message that has the focus */
  #focused() {
    return messageOf(document.activeElement);
  }

  /** @param {HTMLElement | null} message */
  #show(message) {
    if (this.#handlers.isBusy() || (message === this.#message && this.#bar.isConnected)) return;
    // The focus is not taken away from under a hand at the keyboard.
    if (this.#bar.contains(document.activeElement) && message !== this.#message) return;
    const offers = message ? this.#handlers.offers(message) : [];
    this.#message = offers.length > 0 ? message : null;
    const bubble = this.#message?.querySelector('[data-part="bubble"]');
    if (!bubble) {
      this.#bar.remove();
      return;
    }
    for (const button of this.#bar.querySelectorAll('button')) {
      const { bar = '' } = button.dataset;
      button.hidden = bar !== 'more' && !offers.includes(bar);
    }
    bubble.append(this.#bar);
  }
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function messageOf(target) {
  return target instanceof Element ? target.closest('li.message') : null;
}
