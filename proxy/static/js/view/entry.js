/**
 * The dialog that asks for a name or a token, and for a room.
 *
 * @typedef {'enter' | 'sign-in' | 'join' | 'switch' | 'rename'} Mode
 *
 * @typedef {object} Entered fields not asked for are empty
 * @property {string} name
 * @property {string} token
 * @property {string} room
 * @property {boolean} isNew whether the room is to be made
 *
 * @typedef {object} Rooms the rooms that there are
 * @property {() => void} open somebody is going to choose one
 * @property {(query: string) => void} typed
 * @property {(query: string, mode: Mode) => import('./choices.js').Offer} offer
 */

import { nameProblem, typedName } from '../rules.js';
import { t } from '../texts.js';
import { tokenProblem } from '../token.js';
import { Choices } from './choices.js';
import { byId, setProblem, setText } from './dom.js';
import { TakenView } from './taken.js';

const TEXTS = {
  enter: { title: 'entry.title', lead: 'entry.lead', button: 'entry.button' },
  'sign-in': { title: 'entry.sign_in', lead: 'entry.sign_in_lead', button: 'entry.sign_in_button' },
  join: { title: 'entry.join', lead: 'entry.join_lead', button: 'entry.join_button' },
  switch: { title: 'entry.switch', lead: 'entry.join_lead', button: 'entry.switch_button' },
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
  #rooms;
  #onEnter;
  /** @type {Mode} */
  #mode = 'enter';
  #choices = new Choices({ onChoose: (picked) => this.#pick(picked), onActive: () => this.#nameButton() });
  /** @type {import('./choices.js').Picked | null} by a click */
  #picked = null;

  /**
   * @param {(entered: Entered) => void} onEnter
   * @param {(name: string) => import('./taken.js').Taken | null} takenBy who else has that name
   * @param {Rooms} rooms
   */
  constructor(onEnter, takenBy, rooms) {
    this.#onEnter = onEnter;
    this.#rooms = rooms;
    byId('room-input', HTMLInputElement).addEventListener('input', () => {
      this.#rooms.typed(this.#query);
      this.render();
    });
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
    const asksRoom = mode === 'enter' || mode === 'join' || mode === 'switch';
    this.#room.show(asksRoom || (mode === 'sign-in' && isOutside()), room);
    this.#mode = mode;
    this.#dialog.dataset.mode = mode;
    this.#choices.show(asksRoom);
    if (problem) this.#room.complain(problem);
    this.#taken.reset(name);
    if (!this.#dialog.open) this.#dialog.showModal();
    if (asksRoom) this.#rooms.open();
    this.render();
    const first = [this.#name, this.#token, this.#room].filter((field) => field.isShown);
    (name && mode === 'enter' ? this.#room : first[0]).focus();
  }

  /** There is a connection: the rooms can be asked for. */
  connected() {
    if (this.#dialog.open && this.#room.isShown && this.#mode !== 'sign-in') this.#rooms.open();
  }

  /** Shows the rooms as they are now. */
  render() {
    if (!this.#dialog.open || !this.#room.isShown) return;
    this.#choices.render(this.#offer);
    this.#nameButton();
  }

  #nameButton() {
    const { chosen } = this.#choices;
    const makes = chosen ? chosen.isNew : this.#mode !== 'enter' && this.#offer.create !== '';
    setText(byId('entry-button', HTMLButtonElement), t(makes ? 'entry.make' : TEXTS[this.#mode].button));
  }

  get #offer() {
    return this.#rooms.offer(this.#query, this.#mode);
  }

  /** What is sought: nothing, before something else was typed than what is suggested. */
  get #query() {
    return this.#room.isTyped ? this.#room.value : '';
  }

  /** @param {import('./choices.js').Picked} picked */
  #pick(picked) {
    this.#picked = picked;
    this.#form.requestSubmit();
  }

  /**
   * Takes the room that was picked, or typed.
   *
   * @returns {boolean} whether it is to be made
   */
  #takeRoom() {
    if (!this.#room.isShown) return false;
    const { exact, create } = this.#offer;
    const typed = { id: exact || this.#room.value, isNew: this.#mode !== 'enter' && create !== '' };
    const { id, isNew } = this.#picked ?? this.#choices.chosen ?? typed;
    this.#picked = null;
    if (id !== this.#room.value) this.#room.fill(id);
    return isNew;
  }

  /** The content of the room's field; empty when the dialog is closed. */
  get room() {
    return this.#dialog.open ? this.#room.value : '';
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const isNew = this.#takeRoom();
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
    this.#onEnter({ name, token, room, isNew });
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

  /** Whether it holds something else than what was suggested. */
  get isTyped() {
    return this.#input.value !== this.#shown;
  }

  /** @param {string} value */
  fill(value) {
    this.#input.value = value;
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
