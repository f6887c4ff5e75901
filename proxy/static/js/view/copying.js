/** Copying several messages: each is a line of who said it when, "[08:57] ben: …". */

import { byId } from './dom.js';

/** @param {(message: HTMLElement) => string} lineOf */
export function listenForCopies(lineOf) {
  const list = byId('messages', HTMLOListElement);
  list.addEventListener('copy', (event) => {
    const selection = getSelection();
    if (!selection || !event.clipboardData) return;
    const chosen = [...list.children].filter((line) => selection.containsNode(line, true));
    // A part of one message is copied as it is.
    if (chosen.filter(isMessage).length < 2) return;
    const lines = chosen.map((line) => (isMessage(line) ? lineOf(/** @type {HTMLElement} */ (line)) : line.textContent));
    event.clipboardData.setData('text/plain', lines.join('\n'));
    event.preventDefault();
  });
}

/** @param {Element} line */
function isMessage(line) {
  return line.classList.contains('message');
}
