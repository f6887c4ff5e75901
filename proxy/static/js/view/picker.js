/** The picker of reactions: a fixed set in a grid, and a field that finds among it or takes any other. */

import { EMOJI, findEmoji } from '../emoji.js';
import { moved } from '../roving.js';
import { emojiProblem } from '../rules.js';
import { onLanguage, t } from '../texts.js';
import { byId, setProblem } from './dom.js';
import { Popup } from './popup.js';

/** As many as the style sheet puts side by side. */
const COLUMNS = 8;

export class Picker {
  #popup = new Popup(byId('picker', HTMLElement));
  #form = byId('picker-form', HTMLFormElement);
  #field = byId('picker-input', HTMLInputElement);
  #problem = byId('picker-problem', HTMLElement);
  #grid = byId('picker-grid', HTMLElement);
  /** @type {(emoji: string) => void} */
  #onPick = () => {};

  constructor() {
    this.#name();
    onLanguage(() => this.#name());
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#field.addEventListener('input', () => this.#filter());
    this.#field.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowDown') this.#go(event, 0);
    });
    this.#grid.addEventListener('keydown', (event) => this.#pressed(event));
    this.#grid.addEventListener('click', ({ target }) => {
      const button = target instanceof Element ? target.closest('button') : null;
      if (button) this.#pick(button.dataset.emoji ?? '');
    });
  }

  #name() {
    this.#grid.replaceChildren(...EMOJI.map(([emoji, key]) => buttonOf(emoji, t(key))));
  }

  get isOpen() {
    return this.#popup.isOpen;
  }

  /**
   * @param {HTMLElement} anchor
   * @param {(emoji: string) => void} onPick
   */
  open(anchor, onPick) {
    this.#onPick = onPick;
    this.#field.value = '';
    this.#filter();
    this.#popup.open(anchor);
    // On a touch screen, the field would raise the keyboard over the emoji.
    if (matchMedia('(pointer: fine)').matches) this.#field.focus();
    else this.#buttons()[0].focus();
  }

  #filter() {
    const found = new Set(findEmoji(this.#field.value).map(([emoji]) => emoji));
    for (const button of this.#buttons(true)) button.hidden = !found.has(button.dataset.emoji ?? '');
    this.#reach(0);
    setProblem(this.#field, this.#problem, '');
  }

  /** @param {boolean} [all] also those that are not shown */
  #buttons(all = false) {
    return [...this.#grid.querySelectorAll('button')].filter((button) => all || !button.hidden);
  }

  /** @param {number} nth the one that Tab leads to */
  #reach(nth) {
    for (const [index, button] of this.#buttons().entries()) button.tabIndex = index === nth ? 0 : -1;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const buttons = this.#buttons();
    const index = buttons.findIndex((button) => button === document.activeElement);
    if (event.key === 'ArrowUp' && index < COLUMNS) {
      event.preventDefault();
      this.#field.focus();
      return;
    }
    const next = moved(event.key, index, buttons.length, { columns: COLUMNS });
    if (next !== null) this.#go(event, next);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} nth
   */
  #go(event, nth) {
    event.preventDefault();
    this.#reach(nth);
    this.#buttons()[nth]?.focus();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const typed = this.#field.value.trim();
    const [found] = typed ? findEmoji(typed) : [];
    const emoji = found?.[0] ?? typed;
    const problem = emojiProblem(emoji);
    setProblem(this.#field, this.#problem, problem);
    if (!problem) this.#pick(emoji);
  }

  /** @param {string} emoji */
  #pick(emoji) {
    this.#popup.close();
    this.#onPick(emoji);
  }
}

/**
 * @param {string} emoji
 * @param {string} words
 */
export function buttonOf(emoji, words) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'emoji';
  button.textContent = emoji;
  button.dataset.emoji = emoji;
  button.title = words;
  button.setAttribute('aria-label', `${emoji} ${words}`);
  return button;
}
