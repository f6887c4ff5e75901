/**
 * The question whether one who is known by a chosen name is the user. It cannot be answered with
 * yes: ids are no secret, so that a claim would prove nothing. One may choose another name, or share
 * this one.
 *
 * @typedef {object} Taken
 * @property {string} name by which somebody else is known
 * @property {boolean} isHere whether they are in the room now
 */

import { t } from '../texts.js';
import { byId } from './dom.js';

/** What a sign looks like; the user's own is not known before the name is. */
const EXAMPLE = '·3f2a';

export class TakenView {
  #box = byId('taken', HTMLElement);
  #other = byId('taken-other', HTMLButtonElement);
  #takenBy;
  /** The name that needs no question: the user's own, or one that was insisted on. */
  #settled = '';
  #asked = '';

  /**
   * @param {(name: string) => Taken | null} takenBy
   * @param {{onOther: () => void, onSame: () => void}} handlers
   */
  constructor(takenBy, { onOther, onSame }) {
    this.#takenBy = takenBy;
    this.#other.addEventListener('click', () => {
      this.close();
      onOther();
    });
    byId('taken-same', HTMLButtonElement).addEventListener('click', () => {
      this.#settled = this.#asked;
      this.close();
      onSame();
    });
  }

  /** @param {string} name that the user has already; or empty */
  reset(name) {
    this.#settled = name;
    this.close();
  }

  close() {
    this.#box.hidden = true;
  }

  /**
   * Asks, if there is something to ask.
   *
   * @param {string} name
   * @returns {boolean} whether an answer is awaited
   */
  asks(name) {
    const taken = name === this.#settled ? null : this.#takenBy(name);
    if (!taken) return false;
    this.#asked = name;
    const question = taken.isHere ? t('people.taken_here', { name: taken.name }) : t('people.taken_before', { name: taken.name });
    byId('taken-question', HTMLElement).textContent = question;
    byId('taken-why', HTMLElement).textContent = t('people.taken_why', { shown: `${taken.name} ${EXAMPLE}` });
    this.#box.hidden = false;
    this.#other.focus();
    return true;
  }
}
