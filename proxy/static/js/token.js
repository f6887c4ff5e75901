/**
 * The token that identifies the user to the server: a JWT (RFC 7519) signed elsewhere.
 * Here it is read for display only; the server verifies it.
 *
 * It is kept for this tab alone, and removed from the page's address at once: addresses
 * end up in histories and logs.
 */

import { t } from './texts.js';

/** Three parts in base64url (RFC 7515, section 7.1). */
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const IN_HASH = /^#token=/;

/** The subprotocol of this service; the token is offered beside it. */
const PROTOCOL = 'chat';

/**
 * Checks an entered token.
 *
 * @param {string} token
 * @returns {string} the problem, or empty
 */
export function tokenProblem(token) {
  if (token === '') return t('token.empty');
  if (!SHAPE.test(token)) return t('token.malformed');
  return subjectOf(token) === '' ? t('token.nobody') : '';
}

/**
 * Reads the subject of a token.
 *
 * @param {string} token
 * @returns {string} its subject; empty if it cannot be read
 */
export function subjectOf(token) {
  const { sub } = claimsOf(token);
  return typeof sub === 'string' ? sub : '';
}

/**
 * Returns whether a user may do what moderators may: by the token's role, and on a server
 * that asks for no token anybody may.
 *
 * @param {string} token empty for none
 */
export function moderates(token) {
  return token === '' || ['moderator', 'admin'].includes(String(claimsOf(token).role));
}

/**
 * Returns whether a token has ended, by this device's clock.
 *
 * @param {string} token empty for none
 * @param {number} now in milliseconds since 1970
 */
export function hasEnded(token, now) {
  const { exp } = token ? claimsOf(token) : {};
  return typeof exp === 'number' && exp * 1_000 <= now;
}

/**
 * @param {string} token
 * @returns {Record<string, unknown>} empty if they cannot be read
 */
function claimsOf(token) {
  try {
    return Object(JSON.parse(decode(token.split('.')[1])));
  } catch {
    return {};
  }
}

/** @param {string} text UTF-8 in base64url */
function decode(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/**
 * Finds the parameters in a link to the page: `#token=…`, and `&room=…` perhaps.
 *
 * @param {string} hash as `location.hash` gives it
 * @returns {{token: string, room: string} | null} null when there is no token in it
 */
export function tokenInHash(hash) {
  if (!IN_HASH.test(hash)) return null;
  const found = new URLSearchParams(hash.slice(1));
  return { token: found.get('token') ?? '', room: found.get('room') ?? '' };
}

/**
 * A browser can set no header, and so offers the token as a subprotocol.
 *
 * @param {string} token empty for none
 * @returns {string[]} the offered subprotocols
 */
export function offersOf(token) {
  return token ? [PROTOCOL, `bearer.${token}`] : [];
}
