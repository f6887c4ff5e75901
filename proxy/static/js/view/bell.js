/**
 * The bell of a room: of what it tells the user, and whether the browser lets it. Also the
 * question after the first mention. The browser is asked only after the user has chosen something.
 *
 * @typedef {import('../notices.js').Choices} Choices
 * @typedef {import('../notices.js').Level} Level
 */

import { choose, levelOf, LEVELS } from '../notices.js';
import { t } from '../texts.js';
import { chime } from './chime.js';
import { byId, setText } from './dom.js';
import { ASK_MS, permission } from './notices.js';
import { Popup } from './popup.js';

/** What the browser lets the page do. */
const STATES = {
  default: () => t('bell.default'),
  denied: () => t('bell.denied'),
  granted: () => t('bell.granted'),
  none: () => t('bell.none'),
};

export class Bell {
  #button = byId('bell', HTMLButtonElement);
  #box = byId('bell-box', HTMLElement);
  #form = byId('bell-form', HTMLFormElement);
  #popup = new Popup(this.#box);
  #question = byId('bell-question', HTMLElement);
  #choices;
  #room = '';

  /**
   * @param {Choices} choices
   * @param {(choices: Choices) => void} onChoose the user chose
   */
  constructor(choices, onChoose) {
    this.#choices = choices;
    this.#button.addEventListener('click', () => this.#toggle());
    this.#form.addEventListener('change', () => {
      const level = /** @type {Level} */ (new FormData(this.#form).get('level') ?? 'mentions');
      const sound = this.#sound.checked;
      if (sound && !this.#choices.sound) chime();
      this.#choices = { ...choose(this.#choices, this.#room, level), sound, isAsked: true };
      onChoose(this.#choices);
      if (level !== 'nothing') void this.#ask();
      this.render(this.#room);
    });
    byId('bell-allow', HTMLButtonElement).addEventListener('click', () => void this.#ask());
    const answered = () => {
      this.#choices = { ...this.#choices, isAsked: true };
      onChoose(this.#choices);
      this.#question.hidden = true;
    };
    byId('bell-later', HTMLButtonElement).addEventListener('click', answered);
    byId('bell-yes', HTMLButtonElement).addEventListener('click', () => {
      answered();
      void this.#ask();
    });
  }

  get choices() {
    return this.#choices;
  }

  get #sound() {
    return byId('bell-sound', HTMLInputElement);
  }

  /** @param {Choices} choices of another tab */
  adopt(choices) {
    this.#choices = choices;
    this.render(this.#room);
  }

  /**
   * Offers, once, to tell of mentions: somebody has just mentioned the user.
   *
   * @param {string} who
   */
  offer(who) {
    if (this.#choices.isAsked || permission() !== 'default') return;
    setText(byId('bell-question-text', HTMLElement), t('bell.question', { name: who }));
    this.#question.hidden = false;
  }

  /** @param {string} room the current one; empty for none */
  render(room) {
    if (room !== this.#room) this.#popup.close({ refocus: false });
    this.#room = room;
    this.#button.hidden = room === '';
    const level = levelOf(this.#choices, room);
    this.#button.dataset.level = permission(ASK_MS) === 'granted' ? level : 'nothing';
    if (this.#popup.isOpen) this.#fill();
  }

  #toggle() {
    if (this.#popup.isOpen) return this.#popup.close();
    this.#fill();
    this.#popup.open(this.#button);
    this.#form.querySelector('input')?.focus();
  }

  #fill() {
    const level = levelOf(this.#choices, this.#room);
    for (const each of LEVELS) byId(`bell-${each}`, HTMLInputElement).checked = each === level;
    this.#sound.checked = this.#choices.sound;
    const allowed = permission();
    byId('bell-allow', HTMLButtonElement).hidden = allowed !== 'default';
    setText(byId('bell-state', HTMLElement), STATES[allowed]());
    byId('bell-how', HTMLElement).hidden = allowed !== 'denied';
  }

  async #ask() {
    if (permission() === 'default') await Notification.requestPermission();
    permission();
    this.render(this.#room);
  }
}
