/**
 * The line under the room's name: who is here. It opens the list of people; to one who is alone it
 * offers the room's address. Without a connection it says nothing.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { hashOf } from '../location.js';
import { t } from '../texts.js';
import { copyText } from './clipboard.js';
import { byId, setText } from './dom.js';

/** So many others are named. */
const NAMED = 4;

export class HereView {
  #button = byId('here', HTMLButtonElement);
  #line = byId('here-line', HTMLElement);
  #copy = byId('copy-link', HTMLButtonElement);
  #roomId = '';

  /** @param {{onOpen: () => void, say: (text: string) => void}} handlers */
  constructor({ onOpen, say }) {
    this.#button.addEventListener('click', onOpen);
    this.#copy.addEventListener('click', () => {
      const address = new URL(hashOf(this.#roomId), document.baseURI).href;
      void copyText(address, say, t('people.link_kept', { address }));
    });
  }

  /** @param {Store} store */
  render({ current: room, people, self }) {
    const present = room?.here.present ?? null;
    this.#roomId = room?.id ?? '';
    this.#line.hidden = present === null;
    if (!present) return;
    const isAlone = present.count <= 1;
    this.#copy.hidden = !isAlone;
    setText(this.#button, isAlone ? t('people.alone') : textOf(present, self, (id) => people.shown(id)));
  }
}

/**
 * @param {{count: number, ids: string[]}} present
 * @param {string} self
 * @param {(id: string) => string} nameOf
 */
function textOf({ count, ids }, self, nameOf) {
  const others = ids.filter((id) => id !== self).map(nameOf).sort((a, b) => a.localeCompare(b));
  if (others.length === 0) return t('people.count', { count });
  const more = others.length > NAMED ? ['…'] : [];
  const names = [...others.slice(0, NAMED), ...more, ...(ids.includes(self) ? [t('people.you')] : [])];
  return `${t('people.count', { count })} · ${names.join(', ')}`;
}
