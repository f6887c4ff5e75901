/**
 * The token by which the server knows who one is: a JWT (RFC 7519) that somebody else
 * signed. Here it is read for display only; whether it is good, the server decides.
 *
 * It is kept for this tab alone, and never stands in an address for longer than it takes
 * to read it: addresses end up in histories and logs.
 */

/** Three parts in base64url (RFC 7515, section 7.1). */
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const IN_HASH = /^#token=/;

/** The subprotocol of this service; the token is offered beside it. */
const PROTOCOL = 'chat';

/**
 * Checks what a person entered.
 *
 * @param {string} token
 * @returns {string} the problem, or empty
 */
export function tokenProblem(token) {
  if (token === '') return 'Enter a token.';
  if (!SHAPE.test(token)) return 'This is not a token: it has three parts with dots between them.';
  return subjectOf(token) === '' ? 'This token does not say who you are.' : '';
}

/**
 * Tells whom a token is for.
 *
 * @param {string} token
 * @returns {string} its subject; empty if it cannot be read
 */
export function subjectOf(token) {
  try {
    const { sub } = JSON.parse(decode(token.split('.')[1]));
    return typeof sub === 'string' ? sub : '';
  } catch {
    return '';
  }
}

/** @param {string} text UTF-8 in base64url */
function decode(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/**
 * Finds what a link to the page brings along: `#token=…`, and `&room=…` perhaps.
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
 * @returns {string[]} what to offer
 */
export function offersOf(token) {
  return token ? [PROTOCOL, `bearer.${token}`] : [];
}
