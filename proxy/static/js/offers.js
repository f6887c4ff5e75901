/**
 * What a user may do to a message, as far as the page knows the server's rules: the
 * server decides. Pure.
 *
 * @typedef {'react' | 'reply' | 'edit' | 'copy' | 'source' | 'link' | 'pin' | 'unpin' | 'delete'} Action
 *
 * @typedef {object} Who
 * @property {string} self
 * @property {boolean} moderates
 */

import { isMarked } from './markup.js';

/** @type {Record<Action, string>} keys of texts */
export const LABELS = {
  react: 'menu.react',
  reply: 'menu.reply',
  edit: 'menu.edit',
  copy: 'menu.copy',
  source: 'menu.source',
  link: 'room.copy_link',
  pin: 'menu.pin',
  unpin: 'menu.unpin',
  delete: 'menu.delete',
};

/** Keys that do the same while a message has the focus. */
/** @type {Record<string, Action>} */
export const KEYS = { r: 'reply', e: 'edit', '+': 'react', Delete: 'delete' };

/**
 * @param {{sender_id: string}} message
 * @param {import('./look.js').Look} look
 * @param {Who} who
 * @param {boolean} changeable whether the server takes changes; one of before does not
 * @returns {Action[]} in the order of the menu
 */
export function offersFor(message, look, { self, moderates }, changeable) {
  if (look.deleted || look.progress === 'deleting') return [];
  /** @type {Action[]} */
  const readings = isMarked(look.content) ? ['copy', 'source', 'link'] : ['copy', 'link'];
  if (!changeable) return readings;
  const own = message.sender_id === self;
  /** @type {Action[]} */
  const offers = ['react', 'reply'];
  if (own) offers.push('edit');
  offers.push(...readings);
  if (moderates) offers.push(look.pinned ? 'unpin' : 'pin');
  if (own || moderates) offers.push('delete');
  return offers;
}
