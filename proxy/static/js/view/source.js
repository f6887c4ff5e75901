/** Shows a message as it was written, with its markers. */

import { byId } from './dom.js';

/** @param {string} content */
export function showSource(content) {
  byId('source-text', HTMLElement).textContent = content;
  byId('source', HTMLDialogElement).showModal();
}
