/**
 * What is known of a room beside its messages: its title and topic, and how rooms are named
 * and ordered by that. Pure.
 *
 * @typedef {object} RoomInfo as the server tells it
 * @property {string} id
 * @property {string} [title] the name to show
 * @property {string} [topic] what it is about
 * @property {number} [change] the room's change that made it so; of two the larger holds
 *
 * @typedef {{title: string, topic: string, infoChange: number}} Informed
 */

import { locale } from './texts.js';

/**
 * @param {Informed} room
 * @param {RoomInfo} info
 */
export function applyInfo(room, { title = '', topic = '', change = 0 }) {
  if (change >= room.infoChange) Object.assign(room, { title, topic, infoChange: change });
}

/** @param {{id: string, title: string}} room */
export function titleOf({ id, title }) {
  return title || id;
}

/** @type {Map<string, Intl.Collator>} to make one takes longer than to use it */
const collators = new Map();

/**
 * Orders rooms by their titles, as people count: "cours-2" comes before "cours-10".
 *
 * @param {Iterable<T>} rooms
 * @returns {T[]}
 * @template {{id: string, title: string}} T
 */
export function inOrder(rooms) {
  const collator = collators.get(locale()) ?? new Intl.Collator(locale(), { numeric: true });
  collators.set(locale(), collator);
  const { compare } = collator;
  return [...rooms].sort((a, b) => compare(titleOf(a), titleOf(b)) || compare(a.id, b.id));
}
