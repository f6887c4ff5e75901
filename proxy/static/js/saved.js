/**
 * Checked data from a browser's storage: other versions of the page, extensions and
 * users write there too. Invalid data is left out, so that the page always starts.
 * Pure.
 *
 * @typedef {import('./room.js').Pending} Pending
 *
 * @typedef {object} SavedRoom
 * @property {string} id
 * @property {string} epoch empty before the first join
 * @property {number | null} readSeq position read up to; null before the first join
 * @property {string} title empty if it has none
 */

/** Positions are `uint32` in the schema. */
const LAST_SEQ = 2 ** 32 - 1;

/**
 * @param {unknown} value
 * @returns {value is string} whether it is Unicode text: no half of a surrogate pair,
 *   which no address can hold (encodeURIComponent throws) and no server takes
 */
export function isText(value) {
  return typeof value === 'string' && !/\p{Cs}/u.test(value);
}

/**
 * @param {unknown} value
 * @returns {string} the text, or empty if it is none
 */
export function asText(value) {
  return isText(value) ? value : '';
}

/**
 * @param {any} value
 * @returns {SavedRoom | null} null if it is no room
 */
export function asRoom(value) {
  const id = asText(value?.id);
  return id ? { id, epoch: asText(value.epoch), readSeq: asSeq(value.readSeq), title: asText(value.title) } : null;
}

/** @param {unknown} value */
export function asSeq(value) {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= LAST_SEQ
    ? Number(value)
    : null;
}

/**
 * @param {any} value
 * @returns {Pending | null} null if it is no message that can be sent
 */
export function asPending(value) {
  const { id, room_id, sender_id, content, created, state, error, extra } = value ?? {};
  const isMessage = [id, room_id, sender_id, content].every((text) => isText(text) && text);
  if (!isMessage || !isMoment(created) || !['sending', 'failed'].includes(state)) return null;
  const rest = { error: asText(error), inFlight: false, extra: asExtra(extra) };
  return { id, room_id, sender_id, content, created, state, ...rest };
}

/**
 * @param {any} value
 * @returns {Pending['extra']} what of it can be sent; null for nothing
 */
function asExtra(value) {
  const answered = asSeq(value?.reply_to);
  const found = Array.isArray(value?.mentions) ? value.mentions.filter((/** @type {unknown} */ id) => isText(id) && id) : [];
  return extraOf(answered ?? 0, found);
}

/**
 * @param {number} answered the message that is answered; 0 for none
 * @param {string[]} mentions
 * @returns {Pending['extra']}
 */
export function extraOf(answered, mentions) {
  if (answered === 0 && mentions.length === 0) return null;
  return { ...(answered && { reply_to: answered }), ...(mentions.length > 0 && { mentions }) };
}

/** @param {unknown} value */
export function isMoment(value) {
  return isText(value) && !isNaN(Date.parse(value));
}

/**
 * Combines the read positions of two tabs in a room.
 *
 * @param {SavedRoom} mine
 * @param {SavedRoom | null} theirs
 * @returns {SavedRoom} of the same history the farther position; of another, mine
 */
export function furthest(mine, theirs) {
  if (theirs?.epoch !== mine.epoch || theirs.readSeq === null) return mine;
  return { ...mine, readSeq: Math.max(mine.readSeq ?? 0, theirs.readSeq) };
}
