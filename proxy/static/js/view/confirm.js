/** Asks before something is lost. */

import { byId } from './dom.js';

/**
 * @param {string} question
 * @returns {Promise<boolean>}
 */
export function confirmLoss(question) {
  const dialog = byId('confirm', HTMLDialogElement);
  byId('confirm-text', HTMLElement).textContent = question;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
