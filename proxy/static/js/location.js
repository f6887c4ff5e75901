/** Addresses: the room in that of the page, and that of the chat connection. */

import { typedName } from './rules.js';

/**
 * @param {string} hash as `location.hash` gives it
 * @returns {string} the room's name, or empty
 */
export function roomInHash(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return '';
  }
}

/**
 * @param {string} search as `location.search` gives it
 * @returns {string | null} the user name for this tab, perhaps empty; null if not given
 */
export function nameInQuery(search) {
  const name = new URLSearchParams(search).get('as');
  return name === null ? null : typedName(name);
}

/** @param {string} room */
export function hashOf(room) {
  return `#${encodeURIComponent(room)}`;
}

/**
 * @param {string} base address of the page
 * @returns {string} where the same server takes WebSocket connections
 */
export function socketUrl(base) {
  const url = new URL('./', base);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
