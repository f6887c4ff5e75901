/**
 * The rooms that are offered under the field in which one is named: a combobox whose list is
 * always open (ARIA Authoring Practices). The focus stays in the field.
 *
 * @typedef {import('../directory.js').Choice} Choice
 *
 * @typedef {object} Offer
 * @property {Choice[]} rooms
 * @property {string} exact the room whose name or title was typed; empty for none
 * @property {string} create the name of a room that can be made; empty for none
 * @property {string} note what is to be said of the list; empty for nothing
 * @property {boolean} isLoading
 * @property {string} heading
 * @property {boolean} startsAtFirst whether the first is chosen unless another one is
 *
 * @typedef {{id: string, isNew: boolean}} Picked a room; one that is to be made, if `isNew`
 */

import { titleOf } from '../info.js';
import { moved } from '../roving.js';
import { t } from '../texts.js';
import { byId, setText } from './dom.js';
import { ago } from './times.js';

const MOST = 99;

export class Choices {
  #field = byId('room-input', HTMLInputElement);
  #box = byId('choices', HTMLElement);
  #list = byId('choices-list', HTMLUListElement);
  #note = byId('choices-note', HTMLElement);
  #heading = byId('choices-heading', HTMLElement);
  #rows = byId('choices-rows', HTMLElement);
  #onChoose;
  #onActive;
  #active = -1;
  /** What is shown, to leave it in place while nothing changes. */
  #shown = '';

  /**
   * @param {object} handlers
   * @param {(picked: Picked) => void} handlers.onChoose
   * @param {() => void} handlers.onActive another one is the one that Enter takes
   */
  constructor({ onChoose, onActive }) {
    this.#onChoose = onChoose;
    this.#onActive = onActive;
    this.#field.addEventListener('keydown', (event) => this.#pressed(event));
    this.#list.addEventListener('click', ({ target }) => {
      const option = target instanceof Element ? target.closest('li') : null;
      if (option) this.#onChoose(pickedOf(option));
    });
    // The focus stays in the field.
    this.#list.addEventListener('mousedown', (event) => event.preventDefault());
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#box.hidden = !shown;
    this.#field.setAttribute('aria-expanded', 'false');
    this.#shown = '';
    this.#activate(-1);
  }

  /** @param {Offer} offer */
  render(offer) {
    const shown = JSON.stringify(offer);
    if (this.#box.hidden || shown === this.#shown) return;
    this.#shown = shown;
    const { rooms, create, note, isLoading, heading, startsAtFirst } = offer;
    const before = this.#options()[this.#active]?.dataset.room;
    const options = rooms.map(optionOf);
    if (create) options.push(creatorOf(create));
    for (const [nth, option] of options.entries()) option.id = `choice-${nth}`;
    this.#list.replaceChildren(...options);
    this.#list.hidden = options.length === 0;
    this.#field.setAttribute('aria-expanded', String(options.length > 0));
    setText(this.#heading, options.length > 0 || isLoading ? heading : '');
    setText(this.#note, note);
    this.#note.hidden = note === '';
    this.#rows.hidden = !isLoading;
    const at = before === undefined || startsAtFirst ? -1 : options.findIndex(({ dataset }) => dataset.room === before);
    this.#activate(at < 0 && startsAtFirst && options.length > 0 ? 0 : at);
  }

  /** @returns {Picked | null} the one that Enter takes; null: what was typed */
  get chosen() {
    const option = this.#box.hidden ? undefined : this.#options()[this.#active];
    return option ? pickedOf(option) : null;
  }

  #options() {
    return [...this.#list.children].map((option) => /** @type {HTMLElement} */ (option));
  }

  /** @param {number} nth -1 for none */
  #activate(nth) {
    this.#active = nth;
    this.#field.removeAttribute('aria-activedescendant');
    for (const [index, option] of this.#options().entries()) {
      option.setAttribute('aria-selected', String(index === nth));
      if (index !== nth) continue;
      option.scrollIntoView({ block: 'nearest' });
      this.#field.setAttribute('aria-activedescendant', option.id);
    }
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (this.#box.hidden || event.isComposing || event.altKey) return;
    const isMove = event.key === 'ArrowDown' || event.key === 'ArrowUp';
    const next = isMove ? moved(event.key, this.#active, this.#options().length, { wraps: true }) : null;
    if (next === null) return;
    event.preventDefault();
    this.#activate(next);
    this.#onActive();
  }
}

/**
 * @param {HTMLElement} option
 * @returns {Picked}
 */
function pickedOf({ dataset }) {
  return { id: dataset.room ?? '', isNew: dataset.act === 'create' };
}

/** @param {Choice} choice */
function optionOf(choice) {
  const { id, topic, present, at, unread, mentions, isCurrent } = choice;
  const option = newOption(id);
  const title = titleOf(choice);
  const head = pieceOf('span', 'choice-head');
  head.append(pieceOf('bdi', 'choice-name', title));
  if (title !== id) head.append(' ', pieceOf('bdi', 'choice-id', id));
  if (unread > 0) {
    const count = Math.max(mentions, unread) > MOST ? `${MOST}+` : String(mentions || unread);
    const badge = pieceOf('span', mentions > 0 ? 'badge mentions' : 'badge', mentions > 0 ? `@${count}` : count);
    badge.setAttribute('aria-label', mentions > 0 ? t('rooms.mentions', { count: mentions }) : t('rooms.unread', { count: unread }));
    badge.setAttribute('role', 'img');
    head.append(' ', badge);
  }
  option.append(head);
  if (topic) option.append(' ', pieceOf('bdi', 'choice-topic', topic));
  const facts = [
    isCurrent ? t('choices.current') : '',
    present > 0 ? t('choices.here', { count: present }) : '',
    at > 0 ? ago(new Date(at)) : '',
  ].filter(Boolean);
  if (facts.length > 0) option.append(' ', pieceOf('span', 'choice-facts', facts.join(' · ')));
  return option;
}

/** @param {string} name */
function creatorOf(name) {
  const option = newOption(name);
  option.dataset.act = 'create';
  option.append(pieceOf('span', 'choice-create', t('choices.create', { name })));
  return option;
}

/** @param {string} id of the room */
function newOption(id) {
  const option = document.createElement('li');
  option.className = 'choice';
  option.setAttribute('role', 'option');
  option.dataset.room = id;
  option.dataset.testid = 'choice';
  return option;
}

/**
 * @param {string} tag
 * @param {string} name of its class
 * @param {string} [text]
 */
function pieceOf(tag, name, text = '') {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}
