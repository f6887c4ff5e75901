/** Addresses: the room and the message in that of the page, and that of the chat connection. */

import { typedName } from './rules.js';

/** A raw "/": in a room's name it is encoded. */
const PLACE = /^(.+)\/(\d{1,10})$/;

/**
 * @param {string} hash as `location.hash` gives it
 * @returns {{room: string, seq: number}} the room's name, or empty; the position of a message
 *   in it, or 0
 */
export function placeInHash(hash) {
  const [, room, seq] = PLACE.exec(hash.slice(1)) ?? [];
  try {
    return { room: decodeURIComponent(room ?? hash.slice(1)), seq: Number(seq ?? 0) };
  } catch {
    return { room: '', seq: 0 };
  }
}

/**
 * @param {string} hash as `location.hash` gives it
 * @returns {string} the room's name, or empty
 */
export function roomInHash(hash) {
  return placeInHash(hash).room;
}

/**
 * @param {string} search as `location.search` gives it
 * @returns {string | null} the user name for this tab, perhaps empty; null if not given
 */
export function nameInQuery(search) {
  const name = new URLSearchParams(search).get('as');
  return name === null ? null : typedName(name);
}

/**
 * @param {string} room
 * @param {number} [seq] of a message in it
 */
export function hashOf(room, seq = 0) {
  return `#${encodeURIComponent(room)}${seq > 0 ? `/${seq}` : ''}`;
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
