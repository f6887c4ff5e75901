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
  #roomId = '';
  #handlers;

  /** @param {{onSend: (content: string) => void, onDraft: (draft: string) => void}} handlers */
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
    if ((room?.id ?? '') === this.#roomId) return;
    this.#roomId = room?.id ?? '';
    this.#field.placeholder = room ? `Message ${room.id}` : '';
    this.#field.value = room?.draft ?? '';
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
    // While an input method composes, Enter chooses a word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    this.#submit(event);
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const content = tidy(this.#field.value);
    if (content === '' || !this.#check(content)) {
      this.#field.focus();
      return;
    }
    this.#field.value = '';
    this.#changed();
    this.#handlers.onSend(content);
    this.#field.focus();
  }
}
