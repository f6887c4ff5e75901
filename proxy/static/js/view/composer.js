/**
 * The input of messages. Each room has a draft of its own.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { titleOf } from '../info.js';
import { MOST_PIECES, excessOf, piecesOf } from '../pieces.js';
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
  #split = byId('message-split', HTMLButtonElement);
  #touch = matchMedia('(hover: none) and (pointer: coarse)');
  #help = byId('message-help', HTMLElement);
  /** The language, the message that is edited, and the room. */
  #shown = '';
  #editing = false;
  #handlers;

  /**
   * @param {object} handlers
   * @param {(content: string, isLast: boolean) => void} handlers.onSend also the new text of a message,
   *   or empty for none, while one is edited; one text may be several messages
   * @param {(draft: string) => void} handlers.onDraft
   * @param {(text: string) => void} handlers.onTyped the user changed it
   * @param {() => void} handlers.onUp an arrow up in the empty field
   * @param {() => void} handlers.onEscape
   * @param {(pages: 1 | -1) => void} handlers.onPage turns the pages of the log
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#form.addEventListener('submit', (event) => this.#submit(event));
    this.#field.addEventListener('input', () => {
      this.#changed();
      this.#handlers.onTyped(this.#field.value);
    });
    this.#field.addEventListener('keydown', (event) => this.#pressed(event));
    this.#split.addEventListener('click', () => this.#sendAll());
    this.#touch.addEventListener('change', () => this.#describe());
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
    this.#describe();
    this.#field.placeholder = room ? t('composer.message_to', { room: titleOf(room) }) : '';
    this.#field.value = text;
    this.#changed();
  }

  /** Says what the keys do; on a touch screen Enter starts a new line. */
  #describe() {
    this.#help.replaceChildren(...(this.#touch.matches ? [] : helpOf(this.#editing)));
    this.#field.enterKeyHint = this.#touch.matches ? 'enter' : 'send';
  }

  /**
   * Puts a text in at the caret.
   *
   * @param {string} text
   */
  insert(text) {
    if (this.#field.disabled) return;
    this.#field.focus();
    this.#field.setRangeText(text, this.#field.selectionStart, this.#field.selectionEnd, 'end');
    this.#field.dispatchEvent(new Event('input'));
  }

  /** Says that files cannot be sent, until something is written. */
  refuseFiles() {
    setProblem(this.#field, this.#problem, t('composer.no_files'));
    this.focus();
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
    const excess = excessOf(content);
    const problem = contentProblem(content) || (excess > 0 ? t('rule.too_long', { count: excess }) : '');
    const left = excess > 0 ? 0 : CONTENT_BYTES - contentBytes(content);
    setProblem(this.#field, this.#problem, problem);
    setText(this.#left, !problem && left < WARN_BYTES ? t('composer.bytes_left', { count: left }) : '');
    this.#offerSplit(content, excess);
    return problem === '';
  }

  /**
   * @param {string} content
   * @param {number} excess
   */
  #offerSplit(content, excess) {
    const count = excess > 0 && !this.#editing && !contentProblem(content) ? piecesOf(content).length : 0;
    this.#split.hidden = count < 2 || count > MOST_PIECES;
    setText(this.#split, t('composer.split', { count }));
  }

  /** Sends a long text as several messages. */
  #sendAll() {
    const pieces = piecesOf(this.#field.value);
    this.#field.value = '';
    this.#changed();
    this.#field.focus();
    pieces.forEach((piece, nth) => this.#handlers.onSend(piece, nth === pieces.length - 1));
  }

  /** As high as its text; the style sheet sets the bounds. */
  #fit() {
    // To measure what is far too long takes a second, and it is as high as it can be.
    if (this.#field.value.length > 2 * CONTENT_BYTES) return;
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
    const pages = { PageUp: /** @type {const} */ (-1), PageDown: /** @type {const} */ (1) }[event.key];
    if (pages && plain && this.#field.scrollHeight <= this.#field.clientHeight) {
      event.preventDefault();
      this.#handlers.onPage(pages);
    }
    // While an input method composes, Enter chooses a word.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    if (this.#touch.matches && plain) return;
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
    this.#handlers.onSend(content, true);
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
