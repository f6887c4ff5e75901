/**
 * The bar at the corner of a bubble. There is one: it is put into the message that is under the
 * pointer or has the focus.
 *
 * @typedef {'react' | 'reply' | 'more'} BarAction
 */

import { onLanguage, translateIn } from '../texts.js';
import { byId, fromTemplate } from './dom.js';

/** So much of the log, in pixels, it takes above a bubble. */
const ROOM = 30;

export class Bar {
  #bar = fromTemplate('bar-template');
  #log = byId('log', HTMLElement);
  #list = byId('messages', HTMLOListElement);
  #handlers;
  /** @type {HTMLElement | null} */
  #message = null;
  /** @type {HTMLElement | null} one that nothing may be done to until it is stored */
  #unready = null;

  /**
   * @param {object} handlers
   * @param {(message: HTMLElement) => string[]} handlers.offers what may be done to a message
   * @param {(action: BarAction, message: HTMLElement, button: HTMLElement) => void} handlers.onAct
   * @param {() => boolean} handlers.isBusy whether something is open that the bar belongs to
   */
  constructor(handlers) {
    this.#handlers = handlers;
    onLanguage(() => translateIn(this.#bar));
    this.#list.addEventListener('pointerover', ({ pointerType, target }) => {
      if (pointerType === 'mouse') this.#show(messageOf(target));
    });
    // A mouse that moves takes the bar along, also if a menu gave the focus back to it; messages that
    // are scrolled under a resting mouse do not.
    this.#list.addEventListener('pointermove', ({ pointerType, target }) => {
      if (pointerType !== 'mouse' || this.#handlers.isBusy()) return;
      if (messageOf(target) !== this.#message) this.#yield();
      this.#show(messageOf(target));
    });
    this.#log.addEventListener('pointerleave', () => this.#show(this.#focused()));
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

  /**
   * Puts the bar into a message that the keyboard acts upon.
   *
   * @param {HTMLElement} message
   * @param {BarAction} action
   * @returns {HTMLElement} the button that what opens is put beside
   */
  moveTo(message, action) {
    this.#show(message);
    return /** @type {HTMLElement} */ (this.#bar.querySelector(`[data-bar="${action}"]`));
  }

  /** Follows what may be done to its message, which may be deleted by now. */
  render() {
    if (this.#unready?.matches(':hover')) this.#show(this.#unready);
    const message = this.#message;
    if (!message) return;
    if (message.isConnected && this.#handlers.offers(message).length > 0) this.#fill(message);
    else {
      this.#yield();
      this.#put(null);
    }
  }

  /** Gives the focus to the message, if a button has it. */
  #yield() {
    if (this.#bar.contains(document.activeElement)) this.#message?.focus({ preventScroll: true });
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
    const isReady = message && this.#handlers.offers(message).length > 0;
    this.#unready = isReady ? null : message;
    this.#put(isReady ? message : null);
  }

  /** @param {HTMLElement | null} message one that something may be done to */
  #put(message) {
    this.#message = message;
    const bubble = message?.querySelector('[data-part="bubble"]');
    if (!message || !bubble) {
      this.#bar.remove();
      return;
    }
    this.#fill(message);
    // Above the topmost one in view it would be cut off.
    const { top } = bubble.getBoundingClientRect();
    this.#bar.classList.toggle('below', top - this.#log.getBoundingClientRect().top < ROOM);
    bubble.append(this.#bar);
  }

  /** @param {HTMLElement} message */
  #fill(message) {
    const offers = this.#handlers.offers(message);
    for (const button of this.#bar.querySelectorAll('button')) {
      const { bar = '' } = button.dataset;
      button.hidden = bar !== 'more' && !offers.includes(bar);
    }
  }
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function messageOf(target) {
  return target instanceof Element ? target.closest('li.message') : null;
}
