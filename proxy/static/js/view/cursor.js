/**
 * The keyboard's place in the log: one message can be reached by Tab, the arrows move on from it,
 * and letters act upon it. What is in a message (a quote, a link, a reaction) can be reached by Tab
 * only while the focus is in that message: the way from the composer to the newest one is one step.
 * Code can be reached in any case, for it may have to be scrolled.
 */

import { KEYS } from '../offers.js';
import { moved } from '../roving.js';
import { byId } from './dom.js';

/** What Tab leads to in a message that has the focus. */
const INNER = 'a, .code-copy, .quote, .unfold, .chip';

export class Cursor {
  #log = byId('log', HTMLElement);
  #list = byId('messages', HTMLOListElement);
  #handlers;
  /** @type {HTMLElement | null} */
  #reached = null;
  /** @type {HTMLElement | null} one that was clicked at: whoever types there means to write */
  #clicked = null;
  /** @type {HTMLElement | null} the newest message, when that was looked at */
  #newest = null;

  /**
   * @param {object} handlers
   * @param {(action: import('../offers.js').Action, message: HTMLElement) => void} handlers.onAct
   * @param {(message: HTMLElement) => void} handlers.onMenu
   * @param {(message: HTMLElement) => void} handlers.onQuote goes to what it answers
   * @param {(message: HTMLElement) => string} handlers.nameOf what is read out of a message
   * @param {() => void} handlers.onLeave
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#log.addEventListener('keydown', (event) => this.#pressed(event));
    this.#list.addEventListener('pointerdown', ({ target }) => {
      this.#clicked = target instanceof Element && !target.closest('button') ? messageOf(target) : null;
    });
    this.#list.addEventListener('focusin', ({ target }) => this.#entered(target));
    this.#list.addEventListener('focusout', ({ target, relatedTarget }) => {
      const left = messageOf(target);
      if (!left || left === messageOf(relatedTarget)) return;
      setInner(left, -1);
      this.#clicked = null;
    });
  }

  /** Lets Tab lead to a message that is there: where the keyboard is, or was, or to a newer one. */
  render() {
    const last = messageOf(this.#list.lastElementChild);
    const isNew = last !== this.#newest;
    this.#newest = last;
    const focused = messageOf(document.activeElement);
    // Its reactions may be new.
    if (focused) setInner(focused, 0);
    if (this.#reached?.isConnected && (focused || !isNew)) return;
    this.#reach(last);
    // With a message in it, the log itself is no place to stop.
    this.#log.tabIndex = last ? -1 : 0;
  }

  /** @param {HTMLElement} message */
  focus(message) {
    this.#clicked = null;
    this.#reach(message);
    message.focus({ preventScroll: true });
    message.scrollIntoView({ block: 'nearest' });
  }

  /** @param {EventTarget | null} target */
  #entered(target) {
    const message = messageOf(target);
    if (!message) return;
    this.#reach(message);
    setInner(message, 0);
    if (message === target) message.setAttribute('aria-label', this.#handlers.nameOf(message));
  }

  /** @param {HTMLElement | null} message */
  #reach(message) {
    if (message === this.#reached) return;
    this.#reached?.removeAttribute('aria-label');
    if (this.#reached) this.#reached.tabIndex = -1;
    this.#reached = message;
    if (message) message.tabIndex = 0;
  }

  #messages() {
    return /** @type {HTMLElement[]} */ ([...this.#list.querySelectorAll(':scope > .message')]);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { key, target } = event;
    if (key === 'Escape' && !event.shiftKey) {
      event.stopPropagation();
      this.#handlers.onLeave();
      return;
    }
    const message = messageOf(target);
    const messages = this.#messages();
    const next = moved(key, message ? messages.indexOf(message) : -1, messages.length);
    if (next !== null) {
      event.preventDefault();
      this.focus(messages[next]);
    } else if (message && message !== this.#clicked) {
      this.#act(event, message, target === message);
    }
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} message
   * @param {boolean} isWhole whether no button in it has the focus, which would take Enter
   */
  #act(event, message, isWhole) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) this.#handlers.onAct(action, message);
    else if (event.key.toLowerCase() === 'q') this.#handlers.onQuote(message);
    else if ((isWhole && event.key === 'Enter') || event.key === 'ContextMenu') this.#handlers.onMenu(message);
    else return;
    event.preventDefault();
  }
}

/**
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function messageOf(target) {
  return target instanceof Element ? target.closest('li.message') : null;
}

/**
 * @param {HTMLElement} message
 * @param {0 | -1} tabIndex
 */
function setInner(message, tabIndex) {
  for (const inner of message.querySelectorAll(INNER)) /** @type {HTMLElement} */ (inner).tabIndex = tabIndex;
}
