/**
 * Checks of input before it is sent: the server's rules in everyday words. Each
 * check returns the problem, or an empty string.
 */

import { EMOJI_BYTES, NAME_CHARACTERS } from './protocol.js';
import { t } from './texts.js';

const encoder = new TextEncoder();
/** Control characters, and the two separators that the server counts among them. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
/** Unseen, and of no use in a name, but copied along with one; some turn the direction of what is beside it. */
const UNSEEN = /[\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;
/** Those that mean nothing in a message: all but tab and line feed. */
const SILENT = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/**
 * Checks a user's or a room's name.
 *
 * @param {string} value
 * @param {'name' | 'room'} what
 * @returns {string}
 */
export function nameProblem(value, what) {
  const noun = t(what === 'room' ? 'rule.room' : 'rule.name');
  const length = [...value].length;
  if (length === 0) return t('rule.empty', { noun });
  if (length > NAME_CHARACTERS) return t('rule.long', { noun, most: NAME_CHARACTERS, length });
  if (CONTROL.test(value)) return t('rule.control', { noun });
  if (/\p{Cs}/u.test(value)) return t('rule.half', { noun });
  return '';
}

/**
 * Normalizes a typed name to the form that the server requires of new ones: names that
 * differ only in composition, spaces or what is not seen look the same.
 *
 * @param {string} text
 * @returns {string}
 */
export function typedName(text) {
  return text.replace(UNSEEN, '').trim().normalize('NFC').replace(/\s+/gu, ' ');
}

/**
 * Checks the text of a message but for its length, of which `pieces.js` knows.
 *
 * @param {string} content
 * @returns {string}
 */
export function contentProblem(content) {
  if (/\p{Cs}/u.test(content)) return t('rule.half_message');
  return '';
}

/**
 * Checks a reaction.
 *
 * @param {string} emoji
 * @returns {string}
 */
export function emojiProblem(emoji) {
  if (emoji === '') return t('rule.no_emoji');
  if (CONTROL.test(emoji)) return t('rule.emoji_control');
  if (/\p{Cs}/u.test(emoji)) return t('rule.emoji_half');
  return contentBytes(emoji) > EMOJI_BYTES ? t('rule.emoji_long') : '';
}

/**
 * Counts bytes as the limit does: of UTF-8.
 *
 * @param {string} content
 * @returns {number}
 */
export function contentBytes(content) {
  return encoder.encode(content).length;
}

/**
 * Removes unintended characters: blank lines before the text, blanks after it, and
 * control characters, which come with text pasted from a terminal.
 * Indentation of the first line stays.
 *
 * @param {string} draft
 * @returns {string} empty when there is nothing to send
 */
export function tidy(draft) {
  return draft.replace(SILENT, '').replace(/^(?:[^\S\n]*\n)+/, '').trimEnd();
}
