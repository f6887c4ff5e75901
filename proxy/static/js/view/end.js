/**
 * One end of the loaded messages, where more can be loaded: a button, rows in grey while they
 * are on their way, or why they could not be loaded.
 */

import { t } from '../texts.js';
import { byId, setText } from './dom.js';

const WORDS = {
  older: { load: 'log.load_older', loading: 'log.loading_older' },
  newer: { load: 'log.load_newer', loading: 'log.loading_newer' },
};

export class EndView {
  #box;
  #button;
  #text;
  #words;
  #log = byId('log', HTMLElement);

  /**
   * @param {'older' | 'newer'} which
   * @param {() => void} onLoad
   */
  constructor(which, onLoad) {
    this.#box = byId(which, HTMLElement);
    this.#button = byId(`load-${which}`, HTMLButtonElement);
    this.#text = byId(`${which}-text`, HTMLElement);
    this.#words = WORDS[which];
    this.#button.addEventListener('click', onLoad);
  }

  /**
   * @param {{hasMore: boolean, isBusy: boolean, problem: string}} state `problem` empty for none
   */
  render({ hasMore, isBusy, problem }) {
    this.#hide(!hasMore && !problem);
    this.#box.classList.toggle('rows', isBusy);
    const offer = problem ? 'room.again' : this.#words.load;
    setText(this.#button, t(isBusy ? this.#words.loading : offer));
    setText(this.#text, problem && t('log.not_loaded', { problem }));
  }

  /** @param {boolean} hidden */
  #hide(hidden) {
    const losesFocus = hidden && this.#box.contains(document.activeElement);
    this.#box.hidden = hidden;
    if (losesFocus) this.#log.focus({ preventScroll: true });
  }
}
