/** The card above the composer: the message that is answered, or that one is being edited. */

import { t } from '../texts.js';
import { byId, setText } from './dom.js';

export class ContextView {
  #card = byId('context', HTMLElement);
  #title = byId('context-title', HTMLElement);
  #words = byId('context-words', HTMLElement);
  #close = byId('context-close', HTMLButtonElement);

  /** @param {() => void} onClose */
  constructor(onClose) {
    this.#close.addEventListener('click', onClose);
  }

  /** @param {{kind: 'edit' | 'reply', title: string, words: string} | null} context */
  render(context) {
    this.#card.hidden = context === null;
    if (!context) return;
    this.#card.dataset.kind = context.kind;
    setText(this.#title, context.title);
    setText(this.#words, context.words);
    this.#close.setAttribute('aria-label', t(context.kind === 'edit' ? 'context.cancel_edit' : 'context.cancel_reply'));
  }
}
