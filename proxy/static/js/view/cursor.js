/**
 * The keyboard's place in the log: one message can be reached by Tab, the arrows move on from it,
 * and letters act upon it.
 */

import { KEYS } from '../offers.js';
import { moved } from '../roving.js';
import { byId } from './dom.js';

export class Cursor {
  #log = byId('log', HTMLElement);
  #list = byId('messages', HTMLOListElement);
  #handlers;
  /** @type {HTMLElement | null} */
  #reached = null;

  /**
   * @param {object} handlers
   * @param {(action: import('../offers.js').Action, message: HTMLElement) => void} handlers.onAct
   * @param {(message: HTMLElement) => void} handlers.onMenu
   * @param {(message: HTMLElement) => string} handlers.nameOf what is read out of a message
   * @param {() => void} handlers.onLeave
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#log.addEventListener('keydown', (event) => this.#pressed(event));
    this.#list.addEventListener('focusin', ({ target }) => this.#entered(target));
  }

  /** Lets Tab lead to a message that is there: where the keyboard was, or the newest. */
  render() {
    if (this.#reached?.isConnected) return;
    const last = this.#messages().at(-1);
    this.#reach(last ?? null);
    // With a message in it, the log itself is no place to stop.
    this.#log.tabIndex = last ? -1 : 0;
  }

  /** @param {HTMLElement} message */
  focus(message) {
    this.#reach(message);
    message.focus({ preventScroll: true });
    message.scrollIntoView({ block: 'nearest' });
  }

  /** @param {EventTarget | null} target */
  #entered(target) {
    const message = messageOf(target);
    if (!message) return;
    this.#reach(message);
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
    if (target !== message && target !== this.#log) return;
    const messages = this.#messages();
    const next = moved(key, message ? messages.indexOf(message) : -1, messages.length);
    if (next !== null) {
      event.preventDefault();
      this.focus(messages[next]);
    } else if (message) this.#act(event, message);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {HTMLElement} message
   */
  #act(event, message) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action) this.#handlers.onAct(action, message);
    else if (event.key === 'Enter' || event.key === 'ContextMenu') this.#handlers.onMenu(message);
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
