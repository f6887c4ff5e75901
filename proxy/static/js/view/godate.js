/** The dialog that asks for a day to go to. */

import { byId, setProblem } from './dom.js';

export class GoToDateView {
  #dialog = byId('go-date', HTMLDialogElement);
  #field = byId('go-date-input', HTMLInputElement);
  #problem = byId('go-date-problem', HTMLElement);

  /**
   * @param {object} outlets
   * @param {(at: number) => Promise<number | string>} outlets.find by the first moment of a day; gives
   *   a position, or why there is none
   * @param {(seq: number) => void} outlets.onGo
   */
  constructor({ find, onGo }) {
    byId('go-date-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    byId('go-date-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#go(find, onGo);
    });
  }

  /**
   * @param {(at: number) => Promise<number | string>} find
   * @param {(seq: number) => void} onGo
   */
  async #go(find, onGo) {
    const [year, month, day] = this.#field.value.split('-').map(Number);
    if (!year || !month || !day) {
      this.#field.focus();
      return;
    }
    const found = await find(new Date(year, month - 1, day).getTime());
    if (!this.#dialog.open) return;
    setProblem(this.#field, this.#problem, typeof found === 'string' ? found : '');
    if (typeof found === 'string') return;
    this.#dialog.close();
    onGo(found);
  }

  open() {
    setProblem(this.#field, this.#problem, '');
    const now = new Date();
    const pad = (/** @type {number} */ part) => String(part).padStart(2, '0');
    this.#field.max = `${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())}`;
    this.#dialog.showModal();
  }
}
