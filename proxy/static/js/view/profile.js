/**
 * The dialog about the user: the name that others see, the id behind it, the language of the page.
 * The colour comes of the id, unless the user chooses one.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { chosenLanguage, LANGUAGES, setLanguage, t } from '../texts.js';
import { initialOf } from '../tone.js';
import { copyText } from './clipboard.js';
import { byId, part, setText } from './dom.js';

export class ProfileView {
  #dialog = byId('profile', HTMLDialogElement);
  #language = byId('profile-language', HTMLSelectElement);
  #tone = byId('profile-tone', HTMLSelectElement);
  #said = byId('profile-said', HTMLElement);
  #id = '';

  #onOpen;

  /**
   * @param {object} handlers
   * @param {() => void} handlers.onOpen it is to be rendered
   * @param {() => void} handlers.onRename
   * @param {(tone: number) => void} handlers.onTone the user chose a colour; 0: none
   */
  constructor({ onOpen, onRename, onTone }) {
    this.#onOpen = onOpen;
    byId('profile-open', HTMLButtonElement).addEventListener('click', () => this.#open());
    byId('profile-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    byId('profile-rename', HTMLButtonElement).addEventListener('click', () => {
      this.#dialog.close();
      onRename();
    });
    byId('profile-copy', HTMLButtonElement).addEventListener('click', () => this.#copy());
    this.#tone.addEventListener('change', () => onTone(Number(this.#tone.value)));
    this.#language.addEventListener('change', () => setLanguage(this.#language.value));
    this.#language.append(...LANGUAGES.map((language) => new Option(nameOf(language), language)));
  }

  /** @param {Store} store */
  render({ self, people }) {
    this.#id = self;
    if (!this.#dialog.open) return;
    const name = people.nameOf(self);
    this.#dialog.dataset.tone = String(people.toneOf(self));
    this.#tone.value = String(people.chosenTone(self));
    setText(part(this.#dialog, 'avatar', HTMLElement), initialOf(name));
    setText(byId('profile-name', HTMLElement), name);
    setText(byId('profile-sign', HTMLElement), people.signOf(self));
    setText(byId('profile-id', HTMLElement), self);
  }

  #open() {
    this.#language.value = chosenLanguage();
    setText(this.#said, '');
    this.#dialog.showModal();
    this.#onOpen();
  }

  #copy() {
    // Where that is not allowed, the id is there to be marked.
    void copyText(this.#id, (text) => setText(this.#said, text), t('profile.not_copied'));
  }
}

/**
 * @param {string} language
 * @returns {string} its name, in itself
 */
function nameOf(language) {
  const name = new Intl.DisplayNames([language], { type: 'language' }).of(language) ?? language;
  return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
}
