/**
 * The line above the composer: who else types. It is not announced, and goes when its time is over.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { ticks } from '../clock.js';
import { typistsNow } from '../here.js';
import { t } from '../texts.js';
import { byId, setText } from './dom.js';

export class TypistsView {
  #line = byId('typists', HTMLElement);
  #text = byId('typists-text', HTMLElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ending;

  /** @param {Store} store */
  render({ current: room, people, self }) {
    clearTimeout(this.#ending);
    const now = ticks();
    const { ids, others, until } = room ? typistsNow(room.here, self, now) : { ids: [], others: 0, until: 0 };
    const text = textOf(ids.map((id) => people.shown(id)), others);
    this.#line.classList.toggle('some', text !== '');
    setText(this.#text, text);
    if (text) this.#ending = setTimeout(() => this.#end(), until - now);
  }

  #end() {
    this.#line.classList.remove('some');
    setText(this.#text, '');
  }
}

/**
 * @param {string[]} names
 * @param {number} others how many more
 */
function textOf(names, others) {
  const [name, other] = names;
  if (names.length + others > 2 || (names.length === 0 && others > 0)) return t('people.typing_many');
  if (other) return t('people.typing_two', { name, other });
  if (name) return others > 0 ? t('people.typing_many') : t('people.typing_one', { name });
  return '';
}
