/**
 * The input of messages. Each room has a draft of its own.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { titleOf } from '../info.js';
import { CONTENT_BYTES } from '../protocol.js';
import { contentBytes, contentProblem, tidy } from '../rules.js';
import { language, partsOf, t } from '../texts.js';
import { byId, setProblem, setText } from './dom.js';

/** From so many bytes below the limit on, the number left is shown. */
const WARN_BYTES = 1024;

export class ComposerView {
  #form = byId('composer', HTMLFormElement);
  #field = byId('message-input', HTMLTextAreaElement);
  #button = byId('send', HTMLButtonElement);
  #problem = byId('message-problem', HTMLElement);
  #left = byId('message-left', HTMLElement);
  #help = byId('message-help', HTMLElement);
  /** The language, the message that is edited, and the room. */
  #shown = '';
  #editing = false;
  #handlers;

  /**
   * @param {object} handlers
   * @param {(content: string) => void} handlers.onSend also the new text of a message, or empty for
   *   none, while one is edited
   * @param {(draft: string) => void} handlers.onDraft
   * @param {(text: string) => void} handlers.onTyped the user changed it
   * @param {() => void} handlers.onUp an arrow up in the empty field
   * @param {() => void} handlers.onEscape
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#field.addEventListener('input', () => {
      this.#changed();
      this.#handlers.onTyped(this.#field.value);
    });
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
    const shown = `${language()} ${editing?.seq ?? 0} ${room?.id ?? ''} ${room?.title ?? ''}`;
    const text = (editing ? editing.text : room?.draft) ?? '';
    // It may have been sent in another tab.
    if (shown === this.#shown && text === this.#field.value) return;
    this.#shown = shown;
    this.#editing = editing !== null;
    this.#button.setAttribute('aria-label', t(editing ? 'composer.save' : 'composer.send'));
    this.#help.replaceChildren(...helpOf(editing !== null));
    this.#field.placeholder = room ? t('composer.message_to', { room: titleOf(room) }) : '';
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
    setText(this.#left, !problem && left < WARN_BYTES ? t('composer.bytes_left', { count: left }) : '');
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

/**
 * @param {boolean} editing
 * @returns {(string | Node)[]} what the keys do, each key as one
 */
function helpOf(editing) {
  const keys = { enter: t('key.enter'), shift: t('key.shift'), escape: t('key.escape') };
  return partsOf(editing ? 'composer.help_edit' : 'composer.help', keys, (_name, text) => {
    const key = document.createElement('kbd');
    key.textContent = text;
    return key;
  });
}
