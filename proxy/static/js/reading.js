/**
 * How far a room was read, and what is new in it. Pure.
 *
 * The rules:
 * - `readSeq` is the position read up to: it moves over what was in view, without leaving
 *   anything out, and over what the user's other devices and tabs say. Within one history
 *   it only grows.
 * - What is there when a history is met for the first time is not new, unless the server
 *   knows how far the user had read it.
 * - `seenSeq` is what was seen here: all that the server is told. `markedSeq` is what it
 *   knows, null until it was heard; then it is asked.
 * - Marked as read without being seen, it is told to nobody before it cannot be undone any more.
 * - The line "New" stands behind `markSeq`. It stays while the room is open, also when all
 *   was read, so that one sees where reading went on.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').Mark} Mark
 * @typedef {import('./room.js').Room} Room
 */

/**
 * @param {Room} room
 * @returns {number}
 */
export function unread(room) {
  return room.readSeq === null ? 0 : Math.max(0, room.lastSeq - room.readSeq);
}

/**
 * Begins with a history that is met for the first time.
 *
 * @param {Room} room
 * @param {number} lastSeq
 */
export function startReading(room, lastSeq) {
  Object.assign(room, { lastSeq, liveSeq: lastSeq, readSeq: lastSeq, markSeq: null });
  Object.assign(room, { isFresh: true, keptSeq: null, seenSeq: 0, markedSeq: null, mentions: 0 });
}

/**
 * Goes on with a history that was read before.
 *
 * @param {Room} room
 * @param {number} lastSeq
 */
export function resumeReading(room, lastSeq) {
  const caughtUp = unread(room) === 0;
  room.lastSeq = Math.max(room.lastSeq, lastSeq);
  room.liveSeq = lastSeq;
  placeLine(room, caughtUp);
}

/**
 * Places the line "New" where reading stopped, after messages came.
 *
 * @param {Room} room
 * @param {boolean} caughtUp whether all before them was read
 */
export function placeLine(room, caughtUp) {
  if (unread(room) > 0) room.markSeq = caughtUp ? room.readSeq : (room.markSeq ?? room.readSeq);
}

/**
 * Takes what the server says of how far the user has read.
 *
 * @param {Room} room
 * @param {Mark} mark
 */
export function applyMark(room, { seq, mentions }) {
  room.markedSeq = Math.max(room.markedSeq ?? 0, seq);
  if (room.readSeq === null) return;
  const known = room.isFresh && seq > 0 ? 0 : room.readSeq;
  room.readSeq = Math.max(known, seq);
  room.isFresh = false;
  room.mentions = Math.min(mentions, unread(room));
  if (!room.loaded) room.markSeq = unread(room) > 0 ? room.readSeq : null;
}

/**
 * Counts a message that was not heard of before.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 * @param {string} self the user's own name
 */
export function countMessage(room, message, self) {
  const isNew = message.seq > Math.max(room.lastSeq, room.readSeq ?? 0);
  room.lastSeq = Math.max(room.lastSeq, message.seq);
  if (room.readSeq === null) return;
  // Whoever writes has read.
  if (message.sender_id === self) advance(room, message.seq, self);
  else if (isNew && isFor(message, self)) room.mentions += 1;
}

/**
 * Notes which messages are in view. Over what was skipped, reading does not move.
 *
 * @param {Room} room
 * @param {number} first position of the first one
 * @param {number} last position of the last one; less than `first` if there is none
 * @param {string} self
 */
export function see(room, first, last, self) {
  if (room.readSeq === null || !room.loaded || last < first) return;
  if (first <= room.readSeq + 1) advance(room, last, self);
}

/**
 * Marks all as read. It holds when `end` is called, and can be undone before.
 *
 * @param {Room} room
 * @param {string} self
 * @returns {{undo: () => void, end: () => void} | null} null if nothing was new
 */
export function readAll(room, self) {
  const { epoch, readSeq, markSeq, mentions, seenSeq, lastSeq } = room;
  room.markSeq = null;
  if (readSeq === null || unread(room) === 0) return null;
  const keptSeq = room.keptSeq ?? readSeq;
  advance(room, lastSeq, self);
  Object.assign(room, { keptSeq, seenSeq });
  const finish = (/** @type {Partial<Room>} */ fields) => {
    if (room.epoch === epoch && room.keptSeq === keptSeq) Object.assign(room, { keptSeq: null, ...fields });
  };
  return {
    // What was in view meanwhile was not read by that.
    undo: () => finish({ readSeq, markSeq: markSeq ?? readSeq, mentions, seenSeq }),
    end: () => finish({ seenSeq: Math.max(room.seenSeq, lastSeq) }),
  };
}

/**
 * Takes the position of another tab.
 *
 * @param {Room} room
 * @param {number} seq
 */
export function adoptReading(room, seq) {
  room.readSeq = Math.max(room.readSeq ?? 0, seq);
  room.mentions = Math.min(room.mentions, unread(room));
}

/**
 * @param {Room} room
 * @param {number} seq
 * @param {string} self
 */
function advance(room, seq, self) {
  const before = room.readSeq ?? 0;
  room.seenSeq = Math.max(room.seenSeq, seq);
  room.readSeq = Math.max(before, seq);
  room.isFresh = false;
  const first = room.mentions > 0 ? room.messages.findIndex((message) => message.seq > before) : -1;
  const read = first < 0 ? [] : room.messages.slice(first).filter((message) => message.seq <= seq);
  const met = read.filter((message) => isFor(message, self)).length;
  room.mentions = Math.min(Math.max(0, room.mentions - met), unread(room));
}

/**
 * @param {ChatMessage} message
 * @param {string} self
 * @returns {boolean} whether somebody else mentions the user
 */
export function isFor({ sender_id: sender, extra }, self) {
  if (sender === self || !extra) return false;
  return extra.mentions_room === true || (extra.mentions ?? []).includes(self);
}

/**
 * @param {Room} room
 * @returns {boolean} whether the server lacks something that was seen here, or was not heard
 */
export function owesMark({ keptSeq, lastChange, markedSeq, seenSeq }) {
  return keptSeq === null && lastChange !== null && (markedSeq === null || seenSeq > markedSeq);
}
