/**
 * How a message looks: as it stands on the server, with what the user did to it and the
 * server has not confirmed on top. Pure.
 *
 * @typedef {import('./changes.js').PendingChange} PendingChange
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 *
 * @typedef {object} Chip the reactions of one kind
 * @property {string} emoji
 * @property {number} count
 * @property {boolean} mine
 * @property {boolean} waits whether the user's own is not confirmed
 * @property {string[]} others some of the others, those that were first
 *
 * @typedef {object} Look
 * @property {string} content empty if it was deleted
 * @property {boolean} deleted
 * @property {string} deletedBy who deleted it, if that was not the sender
 * @property {boolean} edited
 * @property {boolean} pinned
 * @property {Chip[]} chips
 * @property {'' | 'saving' | 'deleting' | 'failed'} progress
 * @property {string} error why a change failed
 * @property {string} unsaved the user's text of an edit that failed; empty for none
 */

import { plainText } from './markup.js';
import { t } from './texts.js';

/**
 * @param {ChatMessage} message
 * @param {PendingChange[]} changes of this message, in order
 * @param {string} self
 * @param {(emoji: string) => boolean} [reacted] tells whether the user reacted so, where the
 *   server's list of names is cut off before the user's
 * @returns {Look}
 */
export function lookOf(message, changes, self, reacted = () => false) {
  const state = message.extra?.state;
  /** @type {Look} */
  const look = {
    content: message.content,
    deleted: Boolean(state?.deleted_at),
    deletedBy: state?.deleted_by ?? '',
    edited: Boolean(state?.edited_at),
    pinned: state?.pinned ?? false,
    chips: (state?.reactions ?? []).map((reaction) => chipOf(reaction, self, reacted)),
    progress: '',
    error: '',
    unsaved: '',
  };
  for (const change of changes) apply(look, change);
  look.chips = look.chips.filter(({ count, waits }) => count > 0 || waits);
  return look;
}

/**
 * @param {import('./protocol.js').Reaction} reaction
 * @param {string} self
 * @param {(emoji: string) => boolean} reacted
 * @returns {Chip}
 */
function chipOf({ emoji, count = 0, user_ids: ids = [] }, self, reacted) {
  const mine = ids.includes(self) || (count > ids.length && reacted(emoji));
  return { emoji, count, mine, waits: false, others: ids.filter((id) => id !== self) };
}

/**
 * @param {Look} look changed in place
 * @param {PendingChange} change
 */
function apply(look, change) {
  const failed = change.state === 'failed';
  if (failed) look.error ||= change.error;
  if (failed || look.progress === 'failed') look.progress = 'failed';
  else look.progress = change.kind === 'delete' ? 'deleting' : look.progress || 'saving';
  // What was refused did not happen: only words that were written are kept in view, beside those that hold.
  if (failed && change.kind === 'content') look.unsaved = change.value;
  if (failed || look.deleted) return;
  if (change.kind === 'content') {
    look.content = change.value;
    look.edited = true;
  }
  if (change.kind === 'pinned') look.pinned = change.value === 'yes';
  if (change.kind === 'react' || change.kind === 'unreact') react(look, change);
}

/**
 * @param {Look} look changed in place
 * @param {PendingChange} change
 */
function react(look, { kind, value }) {
  let chip = look.chips.find(({ emoji }) => emoji === value);
  if (!chip) {
    chip = { emoji: value, count: 0, mine: false, waits: false, others: [] };
    look.chips.push(chip);
  }
  const mine = kind === 'react';
  if (mine !== chip.mine) chip.count = Math.max(0, chip.count + (mine ? 1 : -1));
  chip.mine = mine;
  chip.waits = true;
}

/**
 * Says who reacted, as "you and 2 others".
 *
 * @param {Chip} chip
 */
export function whoReacted({ count, mine, others }) {
  if (count === 0) return t('who.nobody');
  const [first, ...named] = mine ? [t('who.you'), ...others] : others;
  const more = count - 1;
  if (first === undefined) return t('who.people', { count });
  if (more === 0) return first;
  if (more === 1 && named.length > 0) return t('who.two', { first, second: named[0] });
  return t('who.others', { first, count: more });
}

/**
 * The first words of a message, in one line, without its markers.
 *
 * @param {string} content
 * @param {number} [most] characters
 */
export function firstWords(content, most = 120) {
  const line = plainText(content.slice(0, 32 * most)).slice(0, 4 * most).replace(/\s+/gu, ' ').trim();
  const characters = [...line];
  return characters.length > most ? `${characters.slice(0, most).join('').trimEnd()}…` : line;
}
