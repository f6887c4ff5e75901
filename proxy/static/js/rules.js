/**
 * Checks of input before it is sent: the server's rules in everyday words. Each
 * check returns the problem, or an empty string.
 */

import { CONTENT_BYTES, EMOJI_BYTES, NAME_CHARACTERS } from './protocol.js';

const encoder = new TextEncoder();
/** Control characters, and the two separators that the server counts among them. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
/** Those that mean nothing in a message: all but tab and line feed. */
const SILENT = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/**
 * Checks a user's or a room's name.
 *
 * @param {string} value
 * @param {string} noun the named thing, for the error text
 * @returns {string}
 */
export function nameProblem(value, noun) {
  const length = [...value].length;
  if (length === 0) return `Enter a ${noun}.`;
  if (length > NAME_CHARACTERS) {
    return `A ${noun} has at most ${NAME_CHARACTERS} characters; this one has ${length}.`;
  }
  if (CONTROL.test(value)) return `A ${noun} has no tabs or other control characters.`;
  if (/\p{Cs}/u.test(value)) return `This ${noun} contains half a character.`;
  return '';
}

/**
 * Normalizes a typed name to the form that the server requires of new ones: names that
 * differ only in composition or spaces look the same.
 *
 * @param {string} text
 * @returns {string}
 */
export function typedName(text) {
  return text.trim().normalize('NFC').replace(/\s+/gu, ' ');
}

/**
 * Checks the text of a message.
 *
 * @param {string} content
 * @returns {string}
 */
export function contentProblem(content) {
  if (/\p{Cs}/u.test(content)) return 'This message contains half a character.';
  const excess = contentBytes(content) - CONTENT_BYTES;
  return excess > 0 ? `Too long by ${excess.toLocaleString('en')} bytes.` : '';
}

/**
 * Checks a reaction.
 *
 * @param {string} emoji
 * @returns {string}
 */
export function emojiProblem(emoji) {
  if (emoji === '') return 'Enter an emoji.';
  if (CONTROL.test(emoji)) return 'A reaction has no tabs or other control characters.';
  if (/\p{Cs}/u.test(emoji)) return 'This reaction contains half a character.';
  return contentBytes(emoji) > EMOJI_BYTES ? 'This is too long for a reaction.' : '';
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
