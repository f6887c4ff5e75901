/**
 * The dialog that asks for a name, a room, or both.
 *
 * @typedef {'enter' | 'join' | 'rename'} Mode
 */

import { nameProblem } from '../rules.js';
import { byId, setProblem } from './dom.js';

const TEXTS = {
  enter: { title: 'Welcome', lead: 'Choose a name and a room, and start to talk.', button: 'Enter' },
  join: { title: 'Join a room', lead: 'A room that nobody has used is made when you join it.', button: 'Join' },
  rename: { title: 'Change your name', lead: 'What you have sent keeps the old name.', button: 'Change' },
};

export class EntryView {
  #dialog = byId('entry', HTMLDialogElement);
  #form = byId('entry-form', HTMLFormElement);
  #cancel = byId('entry-cancel', HTMLButtonElement);
  #name = new Field('name');
  #room = new Field('room');
  /** @type {Mode} */
  #mode = 'enter';
  #onEnter;

  /** @param {(name: string, room: string) => void} onEnter what was not asked for is empty */
  constructor(onEnter) {
    this.#onEnter = onEnter;
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#cancel.addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('cancel', (event) => {
      if (this.#mode === 'enter') event.preventDefault();
    });
    // Some browsers close it at a second Escape all the same.
    this.#dialog.addEventListener('close', () => {
      if (this.#mode === 'enter' && document.body.classList.contains('outside')) this.#dialog.showModal();
    });
  }

  /**
   * @param {Mode} mode
   * @param {{name?: string, room?: string, problem?: string}} [values] `problem` is about the room
   */
  open(mode, { name = '', room = '', problem = '' } = {}) {
    this.#mode = mode;
    const { title, lead, button } = TEXTS[mode];
    byId('entry-title', HTMLElement).textContent = title;
    byId('entry-lead', HTMLElement).textContent = lead;
    byId('entry-button', HTMLButtonElement).textContent = button;
    this.#cancel.hidden = mode === 'enter';
    this.#name.show(mode !== 'join', name);
    this.#room.show(mode !== 'rename', room);
    if (problem) this.#room.complain(problem);
    if (!this.#dialog.open) this.#dialog.showModal();
    (mode === 'join' || (name && mode === 'enter') ? this.#room : this.#name).focus();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const fields = [this.#name, this.#room].filter((field) => field.isShown);
    const wrong = fields.filter((field) => !field.check());
    if (wrong.length > 0) {
      wrong[0].focus();
      return;
    }
    const [name, room] = [this.#name, this.#room].map((field) => (field.isShown ? field.value : ''));
    document.body.classList.remove('outside');
    this.#dialog.close();
    this.#onEnter(name, room);
  }
}

class Field {
  #noun;
  #box;
  #input;
  #line;

  /** @param {'name' | 'room'} noun */
  constructor(noun) {
    this.#noun = noun;
    this.#box = byId(`${noun}-field`, HTMLElement);
    this.#input = byId(`${noun}-input`, HTMLInputElement);
    this.#line = byId(`${noun}-problem`, HTMLElement);
    this.#input.addEventListener('input', () => {
      if (!this.#line.hidden) this.check();
    });
  }

  get value() {
    return this.#input.value.trim();
  }

  get isShown() {
    return !this.#box.hidden;
  }

  /**
   * @param {boolean} shown
   * @param {string} value
   */
  show(shown, value) {
    this.#box.hidden = !shown;
    this.#input.value = value;
    this.complain('');
  }

  /** @param {string} problem empty for none */
  complain(problem) {
    setProblem(this.#input, this.#line, problem);
  }

  /** @returns {boolean} whether the value may be used */
  check() {
    const problem = nameProblem(this.value, this.#noun === 'name' ? 'name' : 'room name');
    this.complain(problem);
    return problem === '';
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }
}
