/**
 * Of which messages the user is told while the page is not looked at. Pure.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {'all' | 'mentions' | 'nothing'} Level
 *
 * @typedef {object} Choices what the user chose, for all tabs
 * @property {Record<string, Level>} rooms by the room's id; others are told of mentions
 * @property {boolean} isAsked whether the user was asked once
 * @property {boolean} sound
 */

import { isFor } from './reading.js';
import { isText } from './saved.js';

/** @type {Level[]} */
export const LEVELS = ['all', 'mentions', 'nothing'];
/** @type {Level} */
const USUAL = 'mentions';
/** Of one room so often at most: a busy room is no alarm clock. */
export const PACE_MS = 4_000;

/**
 * @param {any} value from the browser's storage
 * @returns {Choices}
 */
export function asChoices(value) {
  const rooms = Object.entries(value?.rooms ?? {}).filter(
    ([id, level]) => isText(id) && LEVELS.includes(/** @type {Level} */ (level)),
  );
  return {
    rooms: /** @type {Record<string, Level>} */ (Object.fromEntries(rooms)),
    isAsked: value?.isAsked === true,
    sound: value?.sound === true,
  };
}

/**
 * @param {Choices} choices
 * @param {string} roomId
 * @returns {Level}
 */
export function levelOf({ rooms }, roomId) {
  return Object.hasOwn(rooms, roomId) ? (rooms[roomId] ?? USUAL) : USUAL;
}

/**
 * @param {Choices} choices
 * @param {string} roomId
 * @param {Level} level
 * @returns {Choices}
 */
export function choose(choices, roomId, level) {
  const { [roomId]: _, ...others } = choices.rooms;
  return { ...choices, rooms: level === USUAL ? others : { ...others, [roomId]: level } };
}

/**
 * @param {ChatMessage} message that has just come
 * @param {Level} level of its room
 * @param {string} self
 * @returns {boolean} whether the user is to be told
 */
export function tells(message, level, self) {
  if (level === 'nothing' || message.sender_id === self) return false;
  return level === 'all' || isFor(message, self);
}

/** Keeps rooms from telling too often. */
export class Pace {
  /** @type {Map<string, number>} by room: when it told last */
  #toldAt = new Map();

  /**
   * @param {string} roomId
   * @param {number} now milliseconds of any clock that goes on
   * @returns {boolean} whether the room may tell now; then it counts as having told
   */
  take(roomId, now) {
    const at = this.#toldAt.get(roomId);
    if (at !== undefined && now - at < PACE_MS) return false;
    this.#toldAt.set(roomId, now);
    return true;
  }

  /** @param {string} roomId its messages were read: the next one is news again */
  release(roomId) {
    this.#toldAt.delete(roomId);
  }
}
