/**
 * On a narrow screen the rooms are in a drawer over the messages. While it is open
 * the rest cannot be reached, and while it is closed it cannot; on a wide screen both
 * stand side by side.
 */

import { byId } from './dom.js';

export class Drawer {
  #side = byId('side', HTMLElement);
  #main = byId('main', HTMLElement);
  #opener = byId('menu', HTMLButtonElement);
  #narrow = matchMedia('(max-width: 720px)');
  #open = false;

  constructor() {
    this.#opener.addEventListener('click', () => this.open());
    byId('close-menu', HTMLButtonElement).addEventListener('click', () => this.close());
    byId('scrim', HTMLElement).addEventListener('click', () => this.close());
    this.#side.addEventListener('layerclose', () => this.close());
    this.#narrow.addEventListener('change', () => this.#set(false));
    this.#set(false);
  }

  get isOpen() {
    return this.#open;
  }

  open() {
    this.#set(true);
    const current = this.#side.querySelector('[aria-current]');
    const target = current instanceof HTMLElement ? current : byId('close-menu', HTMLButtonElement);
    target.focus();
  }

  close() {
    if (!this.#open) return;
    this.#set(false);
    this.#opener.focus();
  }

  /** @param {boolean} open */
  #set(open) {
    this.#open = open && this.#narrow.matches;
    this.#side.toggleAttribute('data-open', this.#open);
    this.#side.inert = this.#narrow.matches && !this.#open;
    this.#main.inert = this.#open;
    this.#opener.setAttribute('aria-expanded', String(this.#open));
    document.body.classList.toggle('drawer-open', this.#open);
  }
}
