/**
 * Errors of the server in words for people. What people meet every day is said in the page's own
 * words; anything else as the server says it, in English.
 *
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 */

import { t } from './texts.js';

/** By a part of the server's text; its first group, if any, is a number. */
/** @type {[pattern: RegExp, key: string][]} */
const KNOWN = [
  [/\bcontent: must have at most ([\d,]+) bytes/, 'error.too_long'],
  [/\ba connection may be in at most (\d+) rooms/, 'error.too_many_rooms'],
  [/does not allow to read this room/, 'error.no_read'],
  [/does not allow to send to this room/, 'error.no_write'],
  [/only the sender\b/, 'error.not_yours'],
  [/only a moderator\b/, 'error.moderators'],
  [/\btoo many messages\b/, 'error.too_many'],
  [/^the chat server cannot be reached$/, 'error.away'],
  [/^the server is shutting down$/, 'error.stopping'],
  [/^the [\w ]+ could not be stored$/, 'error.not_stored'],
];

/**
 * Makes a sentence for people of an error, whose own text begins with the field's path.
 *
 * @param {ErrorBody} error
 * @returns {string}
 */
export function sentenceOf({ code, message, retryable }) {
  for (const [pattern, key] of KNOWN) {
    const match = pattern.exec(message);
    const most = Number((match?.[1] ?? '').replaceAll(',', ''));
    if (match) return t(key, { most, count: most });
  }
  if (code === 'RESOURCE_EXHAUSTED' && retryable) return t('error.too_fast');
  if (code === 'PERMISSION_DENIED') return t('error.denied');
  const text = message.replace(/^[\w.[\]]+: /, '').replace(/\.$/, '');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
