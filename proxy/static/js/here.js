/**
 * Who is in a room now, and who types in it. Pure.
 *
 * The rules:
 * - What the server tells is all of it, each time; of a lost connection nothing is kept.
 * - Who types is good for as long as the server says. One who has sent a message has ceased. The
 *   server goes on to name such a one for a while: only what it tells again, or of one whom it did
 *   not name before, is new.
 *
 * @typedef {object} Here
 * @property {{count: number, ids: string[]} | null} present `ids` is empty where there are too many;
 *   null: not told
 * @property {{ids: string[], others: number, until: number}} typists `until` in milliseconds of `ticks()`
 * @property {string[]} told those whom the server named last
 * @property {Map<string, number>} sent who has sent a message, and when
 *
 * @typedef {{room_id: string, count?: number, user_ids?: string[]}} RoomPresence
 * @typedef {{room_id: string, user_ids?: string[], others?: number, hold_ms?: number}} Typists
 */

/** As long as the server holds that somebody types. */
export const HOLD_MS = 6_000;
/** So long after a message, what is told may have been on its way before. */
export const LATE_MS = 1_500;

/** @returns {Here} nothing is known */
export function nothingKnown() {
  return { present: null, typists: { ids: [], others: 0, until: 0 }, told: [], sent: new Map() };
}

/**
 * @param {Here} here
 * @param {RoomPresence} presence
 */
export function applyPresence(here, { count = 0, user_ids: ids = [] }) {
  here.present = { count: Math.max(count, ids.length), ids };
}

/**
 * @param {Here} here
 * @param {Typists} typists
 * @param {number} now
 */
export function applyTypists(here, { user_ids: ids = [], others = 0, hold_ms: hold = 0 }, now) {
  const isAgain = ids.length === here.told.length && ids.every((id) => here.told.includes(id));
  const types = (/** @type {string} */ id) => {
    const since = now - (here.sent.get(id) ?? -Infinity);
    return since >= HOLD_MS || !here.told.includes(id) || (isAgain && since >= LATE_MS);
  };
  here.typists = { ids: ids.filter(types), others, until: now + hold };
  here.told = ids;
}

/**
 * Notes that somebody has sent a message.
 *
 * @param {Here} here
 * @param {string} id
 * @param {number} now
 */
export function noteSent(here, id, now) {
  for (const [sender, at] of here.sent) if (now - at >= HOLD_MS) here.sent.delete(sender);
  here.sent.set(id, now);
  here.typists = { ...here.typists, ids: here.typists.ids.filter((typist) => typist !== id) };
}

/**
 * @param {Here} here
 * @param {string} self
 * @param {number} now
 * @returns {{ids: string[], others: number, until: number}} who else types
 */
export function typistsNow({ typists }, self, now) {
  if (typists.until <= now) return { ids: [], others: 0, until: 0 };
  return { ...typists, ids: typists.ids.filter((id) => id !== self) };
}

/**
 * Decides when to tell that the user types: at most once in three seconds for a room, while the text
 * really changes.
 */
export class Pace {
  /** @type {Map<string, {text: string, at: number}>} by room */
  #told = new Map();

  /**
   * @param {string} roomId
   * @param {string} text of the composer, after a change
   * @param {number} now
   * @returns {boolean} whether to tell it now
   */
  takes(roomId, text, now) {
    const { text: before, at } = this.#told.get(roomId) ?? { text: '', at: -Infinity };
    const tells = text.trim() !== '' && text !== before && now - at >= PACE_MS;
    this.#told.set(roomId, { text, at: tells ? now : at });
    return tells;
  }

  /** Begins with a new connection. */
  clear() {
    this.#told.clear();
  }
}

/** The server takes it so often. */
export const PACE_MS = 3_000;
