/** Asks before something is lost. */

import { byId } from './dom.js';

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} [quote] the beginning of what it is about
 * @property {string} text
 * @property {string} yes the button that goes on
 * @property {string} no the one that does not
 *
 * @param {Question} question
 * @returns {Promise<boolean>}
 */
export function confirmLoss({ title, quote = '', text, yes, no }) {
  const dialog = byId('confirm', HTMLDialogElement);
  byId('confirm-title', HTMLElement).textContent = title;
  byId('confirm-quote', HTMLElement).hidden = quote === '';
  byId('confirm-quote', HTMLElement).textContent = quote;
  byId('confirm-text', HTMLElement).textContent = text;
  byId('confirm-yes', HTMLElement).textContent = yes;
  byId('confirm-no', HTMLElement).textContent = no;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
