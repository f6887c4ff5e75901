/**
 * Who the user is. A guest is a random id that stays, and a name that may change: what one
 * wrote stays one's own under another name, and nobody becomes somebody else by typing a name. With
 * a token, it says who one is. Pure, but for the browser's random numbers.
 *
 * @typedef {object} Identity
 * @property {string} id
 * @property {string} name to be shown
 * @property {boolean} told whether the server knows the name
 */

import { asText } from './saved.js';

/** Of RFC 4648, section 6, in small letters: none looks like another. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const CHARACTERS = 20;

/** @returns {string} an id that nobody has: 100 random bits */
export function newGuestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(CHARACTERS));
  return `g-${Array.from(bytes, (byte) => BASE32[byte % BASE32.length]).join('')}`;
}

/**
 * @param {string} name
 * @returns {Identity} of somebody new
 */
export function newGuest(name) {
  return { id: newGuestId(), name, told: false };
}

/**
 * Earlier versions of the page knew a user by the name alone, and it goes on to be the id.
 *
 * @param {unknown} name as it was stored
 * @returns {Identity | null}
 */
export function formerUser(name) {
  const id = asText(name);
  return id ? { id, name: id, told: true } : null;
}

/**
 * @param {any} value as it was stored
 * @returns {Identity | null} null if it is none
 */
export function asIdentity(value) {
  const id = asText(value?.id);
  return id ? { id, name: asText(value.name) || id, told: value.told === true } : null;
}
