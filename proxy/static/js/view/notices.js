/**
 * What the user sees of new messages while looking elsewhere: notifications of the system,
 * a dot on the page's icon, a number on the installed app's.
 *
 * @typedef {import('../protocol.js').ChatMessage} ChatMessage
 * @typedef {import('../store.js').Store} Store
 */

import { ticks } from '../clock.js';
import { firstWords } from '../look.js';
import { levelOf, Pace, tells } from '../notices.js';
import { isFor, unread } from '../reading.js';
import { chime } from './chime.js';

/** To ask the browser takes milliseconds: where it may be often, no more often than this. */
export const ASK_MS = 1_000;
let asked = -Infinity;
/** @type {'granted' | 'denied' | 'default' | 'none'} */
let answer = 'none';

export class Notices {
  #choices;
  #onOpen;
  #nameOf;
  #titleOf;
  #pace = new Pace();
  #icon = /** @type {HTMLLinkElement} */ (document.querySelector('link[rel="icon"]'));
  #iconUsual = this.#icon.href;
  #badge = 0;
  /** @type {Map<string, Notification>} by room */
  #shown = new Map();

  /**
   * @param {object} options
   * @param {() => import('../notices.js').Choices} options.choices
   * @param {(roomId: string) => void} options.onOpen somebody chose a notification
   * @param {(userId: string) => string} options.nameOf
   * @param {(roomId: string) => string} options.titleOf
   */
  constructor({ choices, onOpen, nameOf, titleOf }) {
    this.#choices = choices;
    this.#onOpen = onOpen;
    this.#nameOf = nameOf;
    this.#titleOf = titleOf;
  }

  /**
   * Tells of a message that has just come, while nobody looks.
   *
   * @param {ChatMessage} message
   * @param {string} self
   */
  hear(message, self) {
    const choices = this.#choices();
    const { room_id: roomId } = message;
    if (!tells(message, levelOf(choices, roomId), self) || permission(ASK_MS) !== 'granted') return;
    // A mention is told at once, whatever was told before.
    if (!this.#pace.take(roomId, ticks()) && !isFor(message, self)) return;
    const title = `${this.#nameOf(message.sender_id)} · ${this.#titleOf(roomId)}`;
    void this.#show(roomId, title, firstWords(message.content));
    if (choices.sound) chime();
  }

  /** @param {Store} store */
  render({ rooms, unreadTotal }) {
    const all = [...rooms.values()];
    const mentions = all.reduce((sum, room) => sum + room.mentions, 0);
    const href = unreadTotal > 0 ? (this.#icon.dataset.unread ?? this.#iconUsual) : this.#iconUsual;
    if (this.#icon.href !== new URL(href, document.baseURI).href) this.#icon.href = href;
    this.#count(mentions || unreadTotal);
    for (const room of all) if (unread(room) === 0) this.#close(room.id);
  }

  /** @param {number} count on the app's icon; browsers without such a number have the title's */
  #count(count) {
    if (count === this.#badge) return;
    this.#badge = count;
    const done = count ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
    done?.catch(() => {}); // it may be forbidden: then there is none
  }

  /**
   * @param {string} roomId also the name of the notification: a newer one takes its place
   * @param {string} title
   * @param {string} body
   */
  async #show(roomId, title, body) {
    const options = { body, tag: roomId, icon: this.#iconUsual, data: { room: roomId } };
    const worker = await navigator.serviceWorker?.getRegistration();
    // On phones only a worker may show one.
    if (worker?.active) return worker.showNotification(title, options);
    const notification = new Notification(title, options);
    notification.onclick = () => {
      window.focus();
      this.#onOpen(roomId);
      notification.close();
    };
    this.#shown.set(roomId, notification);
  }

  /** @param {string} roomId */
  #close(roomId) {
    this.#pace.release(roomId);
    this.#shown.get(roomId)?.close();
    this.#shown.delete(roomId);
  }
}

/**
 * @param {number} [age] how many milliseconds old the answer may be
 * @returns {'granted' | 'denied' | 'default' | 'none'} none: this browser, or this address, has none
 */
export function permission(age = 0) {
  if (ticks() - asked < age) return answer;
  asked = ticks();
  answer = typeof Notification === 'function' && window.isSecureContext ? Notification.permission : 'none';
  return answer;
}
