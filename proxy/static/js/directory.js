/**
 * The rooms that there are: those that the user is in, and those that the server lists; what
 * is offered for a few letters of a name, and in which order. Pure.
 *
 * @typedef {object} Choice a room, as the list shows it
 * @property {string} id
 * @property {string} title empty if it has none
 * @property {string} topic
 * @property {number} present how many users are there now
 * @property {number} at when its newest message was sent, in milliseconds since 1970; 0: unknown
 * @property {number} unread
 * @property {number} mentions
 * @property {boolean} joined
 * @property {boolean} isCurrent
 *
 * @typedef {object} Summary as the server tells it
 * @property {import('./info.js').RoomInfo} room
 * @property {number} [last_seq]
 * @property {import('./protocol.js').Mark | null} [mark]
 * @property {import('./protocol.js').ChatMessage | null} [last_message]
 * @property {number} [present]
 */

import { inOrder } from './info.js';
import { fold } from './mentions.js';
import { unread } from './reading.js';

/** So many are offered. */
const OFFERED = 50;

export class Directory {
  /** @type {Map<string, Summary>} */
  #listed = new Map();
  /** Whether all rooms that there are, are listed. */
  isComplete = false;

  /**
   * Takes a page of rooms.
   *
   * @param {Summary[]} rooms
   */
  take(rooms) {
    for (const summary of rooms) this.#listed.set(summary.room.id, summary);
  }

  /** Forgets what was listed: it is listed anew. */
  clear() {
    this.#listed.clear();
    this.isComplete = false;
  }

  /**
   * @param {Iterable<import('./room.js').Room>} rooms that the user is in
   * @param {string} currentId
   * @returns {Choice[]} in no order
   */
  choices(rooms, currentId) {
    const joined = [...rooms].map((room) => choiceOf(room, this.#listed.get(room.id), room.id === currentId));
    const known = new Set(joined.map(({ id }) => id));
    const others = [...this.#listed.values()].filter(({ room }) => !known.has(room.id)).map(strange);
    return [...joined, ...others];
  }
}

/**
 * @param {import('./room.js').Room} room
 * @param {Summary | undefined} listed
 * @param {boolean} isCurrent
 * @returns {Choice}
 */
function choiceOf(room, listed, isCurrent) {
  const newest = Math.max(timeOf(listed?.last_message), timeOf(room.messages.at(-1)));
  const { id, title, topic, mentions } = room;
  return { id, title, topic, present: listed?.present ?? 0, at: newest, unread: unread(room), mentions, joined: true, isCurrent };
}

/**
 * @param {Summary} summary of a room that the user is not in
 * @returns {Choice}
 */
function strange({ room: { id, title = '', topic = '' }, mark, last_seq: last = 0, last_message: newest, present = 0 }) {
  const news = { unread: mark ? Math.max(0, last - mark.seq) : 0, mentions: mark?.mentions ?? 0 };
  return { id, title, topic, present, at: timeOf(newest), ...news, joined: false, isCurrent: false };
}

/** @param {import('./protocol.js').ChatMessage | null | undefined} message */
function timeOf(message) {
  return (message && Date.parse(message.sent_at)) || 0;
}

/**
 * Chooses what to offer: of those that fit equally well those with mentions first, then those
 * with unread messages, then those where something happened last. The current room comes last:
 * one is there already.
 *
 * @param {Choice[]} choices
 * @param {string} query
 * @param {{newFirst?: boolean}} [options] whether rooms that the user is not in come first
 * @returns {Choice[]}
 */
export function find(choices, query, { newFirst = false } = {}) {
  const wanted = fold(query.trim());
  // What is equal otherwise stays in the order of titles.
  const ranked = inOrder(choices)
    .map((choice) => ({ choice, fit: wanted ? fitOf(choice, wanted) : 0 }))
    .filter(({ fit }) => fit < NO_FIT);
  const order = (/** @type {Choice} */ one) => [
    Number(one.isCurrent),
    newFirst ? Number(one.joined) : 0,
    -Number(one.mentions > 0),
    -Number(one.unread > 0),
    newFirst ? -one.present : 0,
    -one.at,
  ];
  ranked.sort((a, b) => a.fit - b.fit || compare(order(a.choice), order(b.choice)));
  return ranked.slice(0, OFFERED).map(({ choice }) => choice);
}

/**
 * @param {number[]} one
 * @param {number[]} other
 */
function compare(one, other) {
  const at = one.findIndex((value, nth) => value !== other[nth]);
  return at < 0 ? 0 : one[at] - other[at];
}

const NO_FIT = 5;

/**
 * @param {Choice} choice
 * @param {string} wanted folded
 * @returns {number} how well it fits; the best is 0
 */
function fitOf({ id, title, topic }, wanted) {
  const names = [fold(id), fold(title)];
  if (names.includes(wanted)) return 0;
  if (names.some((name) => name.startsWith(wanted))) return 1;
  if (names.some((name) => name.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(wanted)))) return 2;
  if (names.some((name) => name.includes(wanted))) return 3;
  return fold(topic).includes(wanted) ? 4 : NO_FIT;
}
