/**
 * The input of messages. Each room has a draft of its own.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { CONTENT_BYTES } from '../protocol.js';
import { contentBytes, contentProblem, tidy } from '../rules.js';
import { byId, setProblem, setText } from './dom.js';

/** From so many bytes below the limit on, the number left is shown. */
const WARN_BYTES = 1024;

export class ComposerView {
  #form = byId('composer', HTMLFormElement);
  #field = byId('message-input', HTMLTextAreaElement);
  #button = byId('send', HTMLButtonElement);
  #problem = byId('message-problem', HTMLElement);
  #left = byId('message-left', HTMLElement);
  #enter = byId('help-enter', HTMLElement);
  #escape = byId('help-escape', HTMLElement);
  /** The message that is edited, and the room. */
  #shown = '0 ';
  #editing = false;
  #handlers;

  /**
   * @param {object} handlers
   * @param {(content: string) => void} handlers.onSend also the new text of a message, or empty for
   *   none, while one is edited
   * @param {(draft: string) => void} handlers.onDraft
   * @param {() => void} handlers.onUp an arrow up in the empty field
   * @param {() => void} handlers.onEscape
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#field.addEventListener('input', () => this.#changed());
    this.#field.addEventListener('keydown', (event) => this.#pressed(event));
  }

  focus() {
    this.#field.focus();
  }

  /** @param {Store} store */
  render({ current: room }) {
    const closed = !room || room.phase === 'refused';
    this.#field.disabled = closed;
    this.#button.disabled = closed;
    const editing = room?.editing ?? null;
    const shown = `${editing?.seq ?? 0} ${room?.id ?? ''}`;
    const text = (editing ? editing.text : room?.draft) ?? '';
    // It may have been sent in another tab.
    if (shown === this.#shown && text === this.#field.value) return;
    this.#shown = shown;
    this.#editing = editing !== null;
    this.#button.setAttribute('aria-label', editing ? 'Save' : 'Send');
    setText(this.#enter, editing ? 'saves' : 'sends');
    this.#escape.hidden = editing === null;
    this.#field.placeholder = room ? `Message ${room.id}` : '';
    this.#field.value = text;
    this.#changed();
  }

  /** Takes a text that was completed from outside. */
  refresh() {
    this.#changed();
  }

  #changed() {
    this.#handlers.onDraft(this.#field.value);
    this.#fit();
    this.#check(tidy(this.#field.value));
  }

  /**
   * @param {string} content
   * @returns {boolean} whether it may be sent
   */
  #check(content) {
    const problem = contentProblem(content);
    const left = CONTENT_BYTES - contentBytes(content);
    setProblem(this.#field, this.#problem, problem);
    setText(this.#left, !problem && left < WARN_BYTES ? `${left} bytes left` : '');
    return problem === '';
  }

  /** As high as its text; the style sheet sets the bounds. */
  #fit() {
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.key === 'Escape' && !event.shiftKey) this.#handlers.onEscape();
    const plain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (event.key === 'ArrowUp' && plain && this.#field.value === '') {
      event.preventDefault();
      this.#handlers.onUp();
    }
    // While an input method composes, Enter chooses a word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    this.#submit(event);
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const content = tidy(this.#field.value);
    if ((content === '' && !this.#editing) || !this.#check(content)) {
      this.#field.focus();
      return;
    }
    if (!this.#editing) {
      this.#field.value = '';
      this.#changed();
    }
    this.#field.focus();
    this.#handlers.onSend(content);
  }
}
