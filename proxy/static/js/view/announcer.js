/**
 * Announces events to screen readers only: new messages, and the connection's
 * return. History is never read out, which is why the log itself is
 * no live region.
 *
 * @typedef {import('../protocol.js').ChatMessage} ChatMessage
 */

import { ticks } from '../clock.js';
import { plainText } from '../markup.js';
import { findMessage } from '../messages.js';
import { MOST, Pace } from '../pace.js';
import { t } from '../texts.js';
import { byId } from './dom.js';

const CHARACTERS = 300;
/** How long a text stays: one that browses the page should not meet it twice for long. */
const STAY_MS = 8_000;

/** What is said beside new messages is said at most so often. */
const ASIDE_MS = 5_000;

export class Announcer {
  #region = byId('announcer', HTMLElement);
  #saidAt = -Infinity;
  #pace = new Pace();
  /** @type {ChatMessage[]} */
  #waiting = [];

  /** @param {string} text */
  say(text) {
    this.#saidAt = ticks();
    const line = document.createElement('p');
    line.textContent = text;
    this.#region.append(line);
    setTimeout(() => line.remove(), STAY_MS);
  }

  /**
   * Says what may also be left out: it is, where there is much to say.
   *
   * @param {string} text
   */
  sayAside(text) {
    if (this.#waiting.length === 0 && ticks() - this.#saidAt > ASIDE_MS) this.say(text);
  }

  /**
   * Says that a message of the current room was edited or deleted; reactions are silent.
   *
   * @param {import('../protocol.js').RoomChanges} changes
   * @param {import('../store.js').Store} store
   */
  sayChange({ room_id: roomId, messages: [change, another] }, { current: room, people, self }) {
    if (!change || another || change.content === undefined || roomId !== room?.id) return;
    const sender = findMessage(room, change.seq)?.sender_id ?? self;
    if (sender === self) return;
    this.sayAside(change.state?.deleted_at ? t('say.deleted') : t('say.edited', { name: people.shown(sender) }));
  }

  /**
   * @param {ChatMessage} message
   * @param {import('../people.js').People} people
   */
  sayMessage(message, people) {
    this.#waiting.push(message);
    const wait = this.#pace.hear(ticks());
    if (this.#waiting.length === 1) setTimeout(() => this.#sayWaiting(people), wait);
  }

  /** @param {import('../people.js').People} people */
  #sayWaiting(people) {
    const messages = this.#waiting;
    this.#waiting = [];
    this.#pace.told(ticks());
    if (messages.length > MOST) {
      this.say(t('jump.new', { count: messages.length }));
      return;
    }
    for (const { sender_id: sender, content } of messages) {
      this.say(`${people.shown(sender)}: ${plainText(content).slice(0, CHARACTERS)}`);
    }
  }
}
