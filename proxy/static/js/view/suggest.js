/**
 * The list of people that opens behind an "@" in the composer. The focus stays in the text; the
 * option is named by `aria-activedescendant`.
 */

import { candidates, complete, mentionAt, mentionsIn } from '../mentions.js';
import { isGuest } from '../people.js';
import { moved } from '../roving.js';
import { t } from '../texts.js';
import { byId } from './dom.js';

/**
 * @typedef {object} People
 * @property {string[]} here ids of those of the room, in the order in which they are offered
 * @property {{id: string, name: string}[]} users all that are known, by the names that are shown
 * @property {string} self
 */

export class Suggest {
  #field = byId('message-input', HTMLTextAreaElement);
  #list = byId('suggest', HTMLUListElement);
  #people;
  #onText;
  #say;
  /** @type {{start: number, query: string} | null} */
  #typed = null;
  #active = 0;
  /** Where a list was closed by Escape: it stays closed for this "@". */
  #closedAt = -1;
  /** @type {Map<string, string>} ids, and the names by which they were written */
  #chosen = new Map();

  /**
   * @param {object} outlets
   * @param {() => People | null} outlets.people null where nobody can be mentioned
   * @param {() => void} outlets.onText the text of the composer was completed
   * @param {(text: string) => void} outlets.say to a screen reader
   */
  constructor({ people, onText, say }) {
    this.#people = people;
    this.#onText = onText;
    this.#say = say;
    this.#field.addEventListener('input', () => this.#look());
    this.#field.addEventListener('click', () => this.#look());
    this.#field.addEventListener('blur', () => this.#close());
    // Before the composer: Enter chooses here, and does not send.
    this.#field.addEventListener('keydown', (event) => this.#pressed(event), { capture: true });
    this.#list.addEventListener('pointerdown', (event) => {
      event.preventDefault();
      const option = event.target instanceof Element ? event.target.closest('li') : null;
      this.#choose(option);
    });
  }

  /**
   * Takes the mentions of a text that is sent.
   *
   * @param {string} text
   * @param {boolean} [isLast] whether no more of it follows in another message
   * @returns {string[]} ids
   */
  take(text, isLast = true) {
    const mentions = mentionsIn(text, this.#chosen);
    if (isLast) this.#chosen.clear();
    this.#close();
    return mentions;
  }

  /** Looks again: more people are known. */
  refresh() {
    if (this.#typed) this.#look();
  }

  #look() {
    const people = this.#people();
    const { value, selectionStart, selectionEnd } = this.#field;
    const typed = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (!typed) this.#closedAt = -1;
    if (!people || !typed || typed.start === this.#closedAt) {
      this.#close();
      return;
    }
    this.#typed = typed;
    const ids = candidates(typed.query, people.here, people.users, people.self);
    this.#show(ids, new Map(people.users.map(({ id, name }) => [id, name])));
  }

  /**
   * @param {string[]} ids
   * @param {Map<string, string>} names
   */
  #show(ids, names) {
    const before = this.#options().length;
    this.#list.replaceChildren(...ids.map((id, nth) => optionOf(id, names.get(id) ?? id, nth)));
    this.#list.hidden = ids.length === 0;
    if (ids.length === 0) {
      this.#field.removeAttribute('aria-controls');
      this.#field.removeAttribute('aria-activedescendant');
      return;
    }
    this.#field.setAttribute('aria-controls', 'suggest');
    this.#activate(0);
    if (ids.length !== before) this.#say(t('suggest.people', { count: ids.length }));
  }

  #options() {
    return [...this.#list.querySelectorAll('li')];
  }

  /** @param {number} nth */
  #activate(nth) {
    this.#active = nth;
    for (const [index, option] of this.#options().entries()) {
      option.setAttribute('aria-selected', String(index === nth));
      if (index !== nth) continue;
      option.scrollIntoView({ block: 'nearest' });
      this.#field.setAttribute('aria-activedescendant', option.id);
    }
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (this.#list.hidden || event.isComposing) return;
    const options = this.#options();
    const { key } = event;
    const next = key === 'Home' || key === 'End' ? null : moved(key, this.#active, options.length, { wraps: true });
    if (next !== null) this.#activate(next);
    else if (key === 'Enter' || key === 'Tab') this.#choose(options[this.#active]);
    else if (key === 'Escape') {
      this.#closedAt = this.#typed?.start ?? -1;
      this.#close();
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  /** @param {HTMLElement | null | undefined} option */
  #choose(option) {
    const { user: id, name } = option?.dataset ?? {};
    if (!this.#typed || !id || !name) return;
    const { text, caret } = complete(this.#field.value, this.#typed, name);
    this.#chosen.set(id, name);
    this.#field.value = text;
    this.#field.setSelectionRange(caret, caret);
    this.#close();
    this.#onText();
  }

  #close() {
    this.#typed = null;
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#field.removeAttribute('aria-controls');
    this.#field.removeAttribute('aria-activedescendant');
  }
}

/**
 * @param {string} id
 * @param {string} name
 * @param {number} nth
 */
function optionOf(id, name, nth) {
  const option = document.createElement('li');
  option.id = `suggest-${nth}`;
  option.className = 'suggest-item';
  option.setAttribute('role', 'option');
  option.dataset.user = id;
  option.dataset.name = name;
  const strong = document.createElement('bdi');
  strong.textContent = name;
  option.append(strong);
  // Of a guest, the id says nothing to anybody.
  if (name !== id && !isGuest(id)) {
    const small = document.createElement('bdi');
    small.className = 'suggest-id';
    small.textContent = id;
    option.append(' ', small);
  }
  return option;
}
