/**
 * The dialog that asks for a name or a token, and for a room.
 *
 * @typedef {'enter' | 'sign-in' | 'join' | 'rename'} Mode
 * @typedef {{name: string, token: string, room: string}} Entered fields not asked for are empty
 */

import { nameProblem, typedName } from '../rules.js';
import { t } from '../texts.js';
import { tokenProblem } from '../token.js';
import { byId, setProblem } from './dom.js';
import { TakenView } from './taken.js';

const TEXTS = {
  enter: { title: 'entry.title', lead: 'entry.lead', button: 'entry.button' },
  'sign-in': { title: 'entry.sign_in', lead: 'entry.sign_in_lead', button: 'entry.sign_in_button' },
  join: { title: 'entry.join', lead: 'entry.join_lead', button: 'entry.join_button' },
  rename: { title: 'entry.rename', lead: 'entry.rename_lead', button: 'entry.rename_button' },
};

export class EntryView {
  #dialog = byId('entry', HTMLDialogElement);
  #form = byId('entry-form', HTMLFormElement);
  #cancel = byId('entry-cancel', HTMLButtonElement);
  #name = new Field('name', (value) => nameProblem(value, 'name'));
  #token = new Field('token', tokenProblem);
  #room = new Field('room', (value) => nameProblem(value, 'room'));
  #taken;
  #onEnter;

  /**
   * @param {(entered: Entered) => void} onEnter
   * @param {(name: string) => import('./taken.js').Taken | null} takenBy who else has that name
   */
  constructor(onEnter, takenBy) {
    this.#onEnter = onEnter;
    this.#taken = new TakenView(takenBy, {
      onOther: () => this.#name.focus(),
      onSame: () => this.#form.requestSubmit(),
    });
    byId('name-input', HTMLInputElement).addEventListener('input', () => this.#taken.close());
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#cancel.addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('cancel', (event) => {
      if (isOutside()) event.preventDefault();
    });
    // Some browsers close it at a second Escape all the same.
    this.#dialog.addEventListener('close', () => {
      if (isOutside()) this.#dialog.showModal();
    });
  }

  /**
   * @param {Mode} mode
   * @param {{name?: string, room?: string, problem?: string, lead?: string}} [values] `problem`
   *   is about the room, `lead` in place of the usual words
   */
  open(mode, { name = '', room = '', problem = '', lead = t(TEXTS[mode].lead) } = {}) {
    const { title, button } = TEXTS[mode];
    byId('entry-title', HTMLElement).textContent = t(title);
    byId('entry-lead', HTMLElement).textContent = lead;
    byId('entry-button', HTMLButtonElement).textContent = t(button);
    this.#cancel.hidden = isOutside();
    this.#name.show(mode === 'enter' || mode === 'rename', name);
    this.#token.show(mode === 'sign-in', '');
    // Beside a chosen room, its field is not needed again.
    this.#room.show(mode === 'enter' || mode === 'join' || (mode === 'sign-in' && isOutside()), room);
    if (problem) this.#room.complain(problem);
    this.#taken.reset(name);
    if (!this.#dialog.open) this.#dialog.showModal();
    const first = [this.#name, this.#token, this.#room].filter((field) => field.isShown);
    (name && mode === 'enter' ? this.#room : first[0]).focus();
  }

  /** The content of the room's field; empty when the dialog is closed. */
  get room() {
    return this.#dialog.open ? this.#room.value : '';
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const all = [this.#name, this.#token, this.#room];
    const fields = all.filter((field) => field.isShown);
    const wrong = fields.filter((field) => !field.check());
    if (wrong.length > 0) {
      wrong[0].focus();
      return;
    }
    if (this.#name.isShown && this.#taken.asks(this.#name.value)) return;
    const [name, token, room] = all.map((field) => (field.isShown ? field.value : ''));
    this.#token.show(false, '');
    document.body.classList.remove('outside');
    this.#dialog.close();
    this.#onEnter({ name, token, room });
  }
}

/** Whether one has not entered yet: there is nothing behind the dialog to go back to. */
function isOutside() {
  return document.body.classList.contains('outside');
}

class Field {
  #shown = '';
  #problemOf;
  #box;
  #input;
  #line;

  /**
   * @param {'name' | 'token' | 'room'} noun
   * @param {(value: string) => string} problemOf
   */
  constructor(noun, problemOf) {
    this.#problemOf = problemOf;
    this.#box = byId(`${noun}-field`, HTMLElement);
    this.#input = byId(`${noun}-input`, HTMLInputElement);
    this.#line = byId(`${noun}-problem`, HTMLElement);
    this.#input.addEventListener('input', () => {
      if (!this.#line.hidden) this.check();
    });
  }

  get value() {
    const text = this.#input.value;
    // A name of an older form is kept unchanged.
    return text === this.#shown ? text : typedName(text);
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
    this.#shown = value;
    this.complain('');
  }

  /** @param {string} problem empty for none */
  complain(problem) {
    setProblem(this.#input, this.#line, problem);
  }

  /** @returns {boolean} whether the value may be used */
  check() {
    const problem = this.#problemOf(this.value);
    this.complain(problem);
    return problem === '';
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }
}
