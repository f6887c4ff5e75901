/**
 * One end of the loaded messages, where more can be loaded: a button, rows in grey while they
 * are on their way, or why they could not be loaded.
 */

import { byId, setText } from './dom.js';

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
    this.#words = `${which} messages`;
    this.#button.addEventListener('click', onLoad);
  }

  /**
   * @param {{hasMore: boolean, isBusy: boolean, problem: string}} state `problem` empty for none
   */
  render({ hasMore, isBusy, problem }) {
    this.#hide(!hasMore && !problem);
    this.#box.classList.toggle('rows', isBusy);
    const offer = problem ? 'Try again' : `Load ${this.#words}`;
    setText(this.#button, isBusy ? `Loading ${this.#words}…` : offer);
    setText(this.#text, problem && `Couldn’t load these. ${problem}`);
  }

  /** @param {boolean} hidden */
  #hide(hidden) {
    const losesFocus = hidden && this.#box.contains(document.activeElement);
    this.#box.hidden = hidden;
    if (losesFocus) this.#log.focus({ preventScroll: true });
  }
}
