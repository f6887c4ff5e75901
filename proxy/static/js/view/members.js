/**
 * The list of people of the room, beside the messages; on a narrow screen a dialog over them.
 *
 * @typedef {import('../members.js').Row} Row
 * @typedef {import('../store.js').Store} Store
 */

import { rowsOf } from '../members.js';
import { t } from '../texts.js';
import { byId, fromTemplate, part, setText } from './dom.js';
import { initialOf } from '../tone.js';

export class MembersView {
  #sheet = byId('members', HTMLDialogElement);
  #note = byId('members-note', HTMLElement);
  #again = byId('members-again', HTMLButtonElement);
  #opener = byId('here', HTMLButtonElement);
  #narrow = matchMedia('(max-width: 720px)');
  #outlets;
  /** What is shown, as text: it is made anew only if it differs. */
  #shown = '';

  /**
   * @param {object} outlets
   * @param {() => void} outlets.onAsk the people of the room are to be asked for
   * @param {() => void} outlets.onClose
   */
  constructor(outlets) {
    this.#outlets = outlets;
    byId('members-close', HTMLButtonElement).addEventListener('click', () => this.close());
    this.#again.addEventListener('click', () => {
      outlets.onAsk();
      byId('members-close', HTMLButtonElement).focus();
    });
    this.#sheet.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.preventDefault();
      event.stopPropagation();
      this.close();
    });
    this.#sheet.addEventListener('cancel', (event) => event.preventDefault());
    this.#sheet.addEventListener('close', () => this.#closed());
    this.#narrow.addEventListener('change', () => this.close());
  }

  get isOpen() {
    return this.#sheet.open;
  }

  toggle() {
    if (this.isOpen) this.close();
    else this.open();
  }

  open() {
    // Beside the messages, these can still be used.
    if (this.#narrow.matches) this.#sheet.showModal();
    else this.#sheet.show();
    this.#opener.setAttribute('aria-expanded', 'true');
    this.#outlets.onAsk();
    byId('members-close', HTMLButtonElement).focus();
  }

  close() {
    const hadFocus = this.#sheet.contains(document.activeElement);
    this.#sheet.close();
    if (hadFocus) this.#opener.focus();
  }

  /** However it was closed, perhaps by the browser's Back; told of it later, it may be open again. */
  #closed() {
    if (this.isOpen) return;
    this.#opener.setAttribute('aria-expanded', 'false');
    this.#outlets.onClose();
  }

  /** @param {Store} store */
  render({ current: room, members, people, self }) {
    if (!this.isOpen) return;
    if (!room) return this.close();
    if (members?.roomId !== room.id) return this.#outlets.onAsk();
    const { present } = room.here;
    const rows = rowsOf(members, present, self, (id) => people.nameOf(id));
    const [here, before] = [true, false].map((isHere) => rows.filter((row) => row.isHere === isHere));
    const failed = members.state === 'failed';
    this.#again.hidden = !failed;
    setText(this.#note, noteOf(members, present !== null));
    this.#note.hidden = this.#note.textContent === '';
    const groups = [here, before].map((group) => group.map((row) => ({ ...row, name: people.nameOf(row.id), sign: people.signOf(row.id), tone: people.toneOf(row.id) })));
    const shown = JSON.stringify([groups, present !== null, t('people.here')]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#fill('members-here', groups[0]);
    this.#fill('members-before', groups[1]);
    setText(byId('members-before-title', HTMLElement), present ? t('people.were_here') : t('people.all'));
  }

  /**
   * @param {string} id of the list
   * @param {(Row & {name: string, sign: string, tone: number})[]} rows
   */
  #fill(id, rows) {
    byId(id, HTMLUListElement).replaceChildren(...rows.map(itemOf));
    byId(`${id}-part`, HTMLElement).hidden = rows.length === 0;
  }
}

/** @param {Row & {name: string, sign: string, tone: number}} row */
function itemOf({ name, sign, tone, isHere, isSelf }) {
  const item = fromTemplate('member-template');
  item.dataset.tone = String(tone);
  setText(part(item, 'avatar', HTMLElement), initialOf(name));
  setText(part(item, 'name', HTMLElement), name);
  setText(part(item, 'sign', HTMLElement), sign);
  part(item, 'you', HTMLElement).hidden = !isSelf;
  part(item, 'here', HTMLElement).hidden = !isHere;
  return item;
}

/**
 * @param {import('../members.js').Members} members
 * @param {boolean} isTold whether it is known who is here
 */
function noteOf({ state, hasMore }, isTold) {
  if (state === 'loading') return t('people.loading');
  if (state === 'failed') return t('people.failed');
  if (!isTold) return t('people.offline');
  return hasMore ? t('people.more') : '';
}
