/**
 * The menu of a message: a list beside the button that opened it, or, for fingers, a sheet at the
 * bottom of the page with six emoji on top.
 *
 * @typedef {import('../offers.js').Action} Action
 *
 * @typedef {object} Offer
 * @property {Action[]} actions
 * @property {string} words the beginning of the message
 * @property {(action: Action) => void} onChoose
 * @property {(emoji: string) => void} onReact
 */

import { QUICK, nameOfEmoji } from '../emoji.js';
import { KEYS, LABELS } from '../offers.js';
import { moved } from '../roving.js';
import { onLanguage, t } from '../texts.js';
import { byId } from './dom.js';
import { buttonOf } from './picker.js';
import { Popup } from './popup.js';

export class Menu {
  #box = byId('message-menu', HTMLElement);
  #popup = new Popup(this.#box);
  #sheet = byId('sheet', HTMLDialogElement);
  #quick = byId('sheet-quick', HTMLElement);
  #list = byId('sheet-list', HTMLElement);
  /** Whether a finger went down since the sheet opened: the one that opened it is still to be lifted. */
  #touched = false;
  /** @type {Offer | null} */
  #offer = null;

  constructor() {
    this.#box.addEventListener('keydown', (event) => this.#pressed(event));
    this.#box.addEventListener('click', ({ target }) => this.#clicked(target));
    this.#name();
    onLanguage(() => this.#name());
    byId('sheet-cancel', HTMLButtonElement).addEventListener('click', () => this.#sheet.close());
    this.#sheet.addEventListener('pointerdown', () => {
      this.#touched = true;
    });
    this.#sheet.addEventListener('click', (event) => {
      // A click by a key or a screen reader has no press before it.
      if (!this.#touched && event.detail !== 0) return;
      if (event.target === this.#sheet) this.#sheet.close();
      else this.#clicked(event.target);
    });
  }

  #name() {
    this.#quick.replaceChildren(...QUICK.map((emoji) => buttonOf(emoji, nameOfEmoji(emoji))));
  }

  get isOpen() {
    return this.#popup.isOpen || this.#sheet.open;
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Offer} offer
   */
  openBeside(anchor, offer) {
    this.#offer = offer;
    const inMenu = offer.actions.filter((action) => action !== 'react' && action !== 'reply');
    const items = inMenu.map((action) => itemOf(action, 'menu-item', 'menuitem'));
    this.#box.replaceChildren(...items);
    this.#popup.open(anchor);
    items[0]?.focus();
  }

  /** @param {Offer} offer */
  openSheet(offer) {
    this.#offer = offer;
    this.#touched = false;
    byId('sheet-quote', HTMLElement).textContent = offer.words;
    this.#quick.hidden = !offer.actions.includes('react');
    this.#list.replaceChildren(...offer.actions.map((action) => itemOf(action, 'sheet-item')));
    this.#sheet.showModal();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const items = [...this.#box.querySelectorAll('button')];
    const index = items.findIndex((item) => item === document.activeElement);
    const next = moved(event.key, index, items.length, { wraps: true });
    if (next !== null) {
      event.preventDefault();
      items[next].focus();
    } else if (event.key === 'Tab') {
      event.preventDefault();
      this.#popup.close();
    }
  }

  /** @param {EventTarget | null} target */
  #clicked(target) {
    const button = target instanceof Element ? target.closest('button') : null;
    const { emoji, act } = button?.dataset ?? {};
    if (!emoji && !act) return;
    this.#popup.close();
    this.#sheet.close();
    if (emoji) this.#offer?.onReact(emoji);
    else this.#offer?.onChoose(/** @type {Action} */ (act));
  }
}

/**
 * @param {Action} action
 * @param {string} name of its class
 * @param {string} [role]
 */
function itemOf(action, name, role) {
  const item = document.createElement('button');
  item.type = 'button';
  item.className = action === 'delete' ? `${name} danger-item` : name;
  item.dataset.act = action;
  item.textContent = t(action === 'react' ? 'menu.react_other' : LABELS[action]);
  if (role) {
    item.setAttribute('role', role);
    item.tabIndex = -1;
    const key = Object.keys(KEYS).find((known) => KEYS[known] === action);
    if (key) item.append(keyHint(key));
  }
  return item;
}

/** @param {string} key */
function keyHint(key) {
  const hint = document.createElement('kbd');
  hint.className = 'menu-key';
  hint.textContent = key === 'Delete' ? t('key.delete') : key.toUpperCase();
  hint.setAttribute('aria-hidden', 'true');
  return hint;
}
