/**
 * State of one room: its messages, the unsent ones, and the position read up to.
 * Pure: no network, no page, no clock.
 *
 * The rules:
 * - A position (`seq`) means something only together with its epoch. Another
 *   epoch is another history: the old state of the room is dropped.
 * - `messages` is ordered by `seq`, each once. A hole in it is a gap to fill.
 * - A room that was never viewed is not `loaded`: of its messages only the
 *   position of the newest is kept, which is enough to count the unread ones.
 * - A message that was sent from here stays in `pending` until the server's copy
 *   of it arrives, by whatever way: live, replayed, or in a page of history.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').HistoryPage} HistoryPage
 * @typedef {import('./protocol.js').HistoryRange} HistoryRange
 * @typedef {import('./protocol.js').Joined} Joined
 *
 * @typedef {object} Pending
 * @property {string} id
 * @property {string} room_id
 * @property {string} sender_id
 * @property {string} content
 * @property {string} created RFC 3339, by this device's clock
 * @property {'sending' | 'failed'} state
 * @property {string} error why it failed
 * @property {boolean} inFlight whether it went out on the open connection
 *
 * @typedef {object} HistoryRequest
 * @property {'newest' | 'older' | 'fill'} kind
 * @property {HistoryRange} range
 * @property {number} limit
 *
 * @typedef {object} Room
 * @property {string} id
 * @property {'idle' | 'joining' | 'joined' | 'refused'} phase
 * @property {string} error why joining was refused
 * @property {string} epoch
 * @property {number} lastSeq position of the room's newest message, as far as known
 * @property {number | null} readSeq position read up to; null before the first join
 * @property {number | null} markSeq the line above new messages is drawn after it
 * @property {boolean} loaded
 * @property {ChatMessage[]} messages
 * @property {boolean} hasOlder
 * @property {boolean} wantsOlder
 * @property {(HistoryRequest & {requestId: string}) | null} request the one under way
 * @property {string} historyError why a page could not be loaded
 * @property {Pending[]} pending in the order of sending
 * @property {string} draft
 */

import { findGap, insert, merge, messageKey } from './messages.js';
import { PAGE_LIMIT, PAGE_SIZE } from './protocol.js';

/** A room that grows beyond KEEP_MOST messages is cut to the newest KEEP_LEAST. */
export const KEEP_MOST = 1000;
export const KEEP_LEAST = 500;

/**
 * @param {string} id
 * @param {{epoch?: string, readSeq?: number | null}} [saved] how far it was read before
 * @returns {Room}
 */
export function createRoom(id, saved = {}) {
  return {
    id,
    phase: 'idle',
    error: '',
    epoch: saved.epoch ?? '',
    lastSeq: saved.readSeq ?? 0,
    readSeq: saved.readSeq ?? null,
    markSeq: null,
    loaded: false,
    messages: [],
    hasOlder: false,
    wantsOlder: false,
    request: null,
    historyError: '',
    pending: [],
    draft: '',
  };
}

/**
 * Takes the answer to a join, or the notice that the history was replaced.
 *
 * @param {Room} room
 * @param {Joined} joined
 */
export function applyJoined(room, joined) {
  const sameHistory = room.epoch === joined.epoch;
  room.phase = 'joined';
  room.error = '';
  if (!(sameHistory && joined.recovered)) forget(room);
  if (sameHistory && room.readSeq !== null) {
    room.lastSeq = Math.max(room.lastSeq, joined.last_seq);
  } else {
    startHistory(room, joined.epoch, joined.last_seq);
  }
}

/**
 * Messages of a history met for the first time do not count as unread.
 *
 * @param {Room} room
 * @param {string} epoch
 * @param {number} lastSeq
 */
function startHistory(room, epoch, lastSeq) {
  room.epoch = epoch;
  room.lastSeq = lastSeq;
  room.readSeq = lastSeq;
  room.markSeq = null;
}

/** @param {Room} room */
function forget(room) {
  room.loaded = false;
  room.messages = [];
  room.hasOlder = false;
  room.wantsOlder = false;
  room.request = null;
  room.historyError = '';
}

/**
 * Takes the loss of the connection: pending answers will not come.
 *
 * @param {Room} room
 */
export function applyDisconnect(room) {
  room.phase = 'idle';
  if (!room.loaded) room.messages = [];
  room.request = null;
  room.historyError = '';
  room.pending = room.pending.map((pending) => ({ ...pending, inFlight: false }));
}

/**
 * Takes a message that arrived live, in a replay, or as an answer to an own one.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 * @param {string} self the user's own name
 * @returns {boolean} whether it is shown now and was not before
 */
export function applyMessage(room, message, self) {
  settle(room, [message]);
  room.lastSeq = Math.max(room.lastSeq, message.seq);
  if (message.sender_id === self && room.readSeq !== null) {
    room.readSeq = Math.max(room.readSeq, message.seq);
  }
  return belongs(room, message) && insert(room.messages, message);
}

/**
 * The answer to a message that was sent twice is an old message; before the loaded
 * range it would tear a hole.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 */
function belongs(room, message) {
  if (!room.loaded) return room.request?.kind === 'newest';
  return !room.hasOlder || room.messages.length === 0 || message.seq > room.messages[0].seq;
}

/**
 * @param {Room} room
 * @param {ChatMessage[]} messages
 */
function settle(room, messages) {
  if (room.pending.length === 0) return;
  const stored = new Set(messages.map(messageKey));
  room.pending = room.pending.filter((pending) => !stored.has(messageKey(pending)));
}

/**
 * Chooses the most urgent page of history that the room lacks.
 *
 * @param {Room} room
 * @param {boolean} isCurrent whether the room is in view
 * @returns {HistoryRequest | null}
 */
export function missingHistory(room, isCurrent) {
  if (room.phase !== 'joined' || room.request || room.historyError) return null;
  if (!room.loaded) return isCurrent ? { kind: 'newest', range: {}, limit: PAGE_SIZE } : null;
  const gap = findGap(room.messages);
  if (gap) {
    const limit = Math.min(PAGE_LIMIT, gap.before - gap.after - 1);
    return { kind: 'fill', range: { after_seq: gap.after }, limit };
  }
  if (!room.wantsOlder || !room.hasOlder) return null;
  return { kind: 'older', range: { before_seq: room.messages[0].seq }, limit: PAGE_SIZE };
}

/**
 * Returns the position that a new connection has to resume from.
 *
 * @param {Room} room
 * @returns {{after_seq: number, epoch: string} | null} null: from now on
 */
export function resumePosition(room) {
  if (!room.loaded) return null;
  const after = findGap(room.messages)?.after ?? room.messages.at(-1)?.seq ?? 0;
  return { after_seq: after, epoch: room.epoch };
}

/**
 * Takes the page that answers `room.request`.
 *
 * @param {Room} room
 * @param {HistoryPage} page
 */
export function applyHistory(room, page) {
  const { request } = room;
  room.request = null;
  if (!request || !agreesOnEpoch(room, page, request)) return;
  const { kind, range } = request;
  settle(room, page.messages);
  if (kind === 'newest') dropBefore(room, page.messages[0]?.seq ?? 0);
  const before = room.messages.length;
  room.messages = merge(room.messages, page.messages);
  const added = room.messages.length - before;
  const unfilled = kind === 'fill' && findGap(room.messages)?.after === range.after_seq;
  if (unfilled) room.historyError = 'Some messages are missing.';
  if (kind === 'newest') room.loaded = true;
  if (kind === 'newest' || kind === 'older') room.hasOlder = page.has_more && added > 0;
  if (kind === 'older') room.wantsOlder = false;
  room.lastSeq = Math.max(room.lastSeq, room.messages.at(-1)?.seq ?? 0);
}

/**
 * The newest page stands for itself, so a new epoch can be taken from it. Any other
 * page is of no use under another epoch: everything is to be loaded again.
 *
 * @param {Room} room
 * @param {HistoryPage} page
 * @param {HistoryRequest} request
 */
function agreesOnEpoch(room, page, { kind }) {
  if (page.epoch === room.epoch) return true;
  forget(room);
  if (kind === 'newest') startHistory(room, page.epoch, page.messages.at(-1)?.seq ?? 0);
  return kind === 'newest';
}

/**
 * @param {Room} room
 * @param {number} seq
 */
function dropBefore(room, seq) {
  room.messages = room.messages.filter((message) => message.seq >= seq);
}

/**
 * Bounds the size of a room that is followed for days.
 *
 * @param {Room} room
 */
export function trim(room) {
  if (room.messages.length <= KEEP_MOST || findGap(room.messages)) return;
  room.messages = room.messages.slice(-KEEP_LEAST);
  room.hasOlder = true;
}

/**
 * @param {Room} room
 * @returns {number}
 */
export function unread(room) {
  return room.readSeq === null ? 0 : Math.max(0, room.lastSeq - room.readSeq);
}
