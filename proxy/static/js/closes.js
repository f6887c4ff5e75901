/** Why a connection was closed, by the code of the close, and what is to be done then. */

/** The token of the connection has expired. */
export const TOKEN_EXPIRED = 4010;
/** The token is missing or invalid. */
export const BAD_TOKEN = 4501;

/**
 * Returns whether a connection was closed for lack of a valid token. Retrying with the
 * same one is useless, whatever the range of the code says.
 *
 * @param {number} code
 */
export function wantsToken(code) {
  return code === TOKEN_EXPIRED || code === BAD_TOKEN;
}

/** The close code of an oversized frame. */
export const TOO_BIG = 1009;

/**
 * Chooses the reaction to a close by its code.
 *
 * `soon`: the server restarts (RFC 6455 section 7.4.1, 1001). `never`: it would be
 * refused again (4500-4999). Everything else, 4000-4499 and a lost connection
 * (1006) included, is `later`: again, with backoff. A token that has expired (4010)
 * has to be replaced by the user first.
 *
 * @param {number} code
 * @returns {'soon' | 'later' | 'never'}
 */
export function afterClose(code) {
  if (code === 1001) return 'soon';
  return wantsToken(code) || (code >= 4500 && code <= 4999) ? 'never' : 'later';
}
