/**
 * The piece of a room's history that is loaded: what of it is missing, and what comes
 * in. Pure.
 *
 * The rules:
 * - `messages` is one piece of the history, with more before it (`hasOlder`) and behind it
 *   (`hasNewer`). It grows at the end that one scrolls to, and is cut at the other: at most
 *   KEEP_MOST messages are loaded. A hole in it is a gap to fill.
 * - A room opens at its newest messages; if many are unread, where reading stopped.
 * - What comes live is added to a piece that reaches the end. While there is more behind it,
 *   live messages are only counted: they are loaded when one gets there. Those that come while a
 *   page is on its way are kept until it is there, or one would never get to the end of a busy room.
 * - A page that another epoch has is of another history.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').HistoryPage} HistoryPage
 * @typedef {import('./payloads.js').Position} Position
 * @typedef {import('./room.js').HistoryRequest} HistoryRequest
 * @typedef {import('./room.js').Room} Room
 */

import { findGap, indexOf, insert, merge, messageKey } from './messages.js';
import { notePin } from './pins.js';
import { PAGE_LIMIT, PAGE_SIZE } from './protocol.js';
import { countMessage, unread } from './reading.js';
import { forget, startHistory } from './room.js';
import { noteAge, startChanges } from './states.js';
import { t } from './texts.js';

/** So many messages are loaded at most; of a room that is followed, KEEP_LEAST are left. */
export const KEEP_MOST = 300;
export const KEEP_LEAST = 200;
/** So many messages before a place are loaded with it. */
const BEFORE = 20;

/**
 * Takes a message that arrived live, in a replay, or as an answer to an own one.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 * @param {string} self the user's own name
 * @param {boolean} [isFollowed] whether the end of the room is in view
 * @returns {boolean} whether it is shown now and was not before
 */
export function applyMessage(room, message, self, isFollowed = true) {
  settle(room, [message]);
  countMessage(room, message, self);
  if (room.loaded && !isFollowed && room.messages.length >= KEEP_MOST) room.hasNewer = true;
  if (room.request && room.hasNewer && room.coming.length < KEEP_MOST) room.coming.push(message);
  const added = belongs(room, message) && insert(room.messages, message);
  if (added) notePin(room, message);
  if (isFollowed) trim(room);
  return added;
}

/**
 * The answer to a message that was sent twice is an old message; before the loaded
 * piece it would tear a hole.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 */
function belongs(room, message) {
  const { loaded, messages, hasOlder, hasNewer } = room;
  if (!loaded) return room.request?.kind === 'newest';
  if (messages.length === 0) return !hasNewer;
  if (hasOlder && message.seq < messages[0].seq) return false;
  return !hasNewer || message.seq <= messages[messages.length - 1].seq;
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

/** @param {Room} room whose end is followed */
function trim(room) {
  if (room.messages.length <= KEEP_MOST || findGap(room.messages)) return;
  room.messages = room.messages.slice(-KEEP_LEAST);
  room.hasOlder = true;
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
  if (!room.loaded) return isCurrent ? firstPage(room) : null;
  if (room.goal !== null) return pageAt(room.goal);
  const gap = findGap(room.messages);
  if (gap) {
    const limit = Math.min(PAGE_LIMIT, gap.before - gap.after - 1);
    return { kind: 'fill', range: { after_seq: gap.after }, limit };
  }
  return nextPage(room);
}

/**
 * @param {Room} room
 * @returns {HistoryRequest | null}
 */
function firstPage(room) {
  // It depends on how far the user has read on other devices: the answer is on its way.
  if (room.markRequest && room.lastChange !== null) return null;
  if (room.goal !== null) return pageAt(room.goal);
  return pageAt(unread(room) > PAGE_SIZE - BEFORE ? (room.readSeq ?? 0) : 'newest');
}

/**
 * @param {number | 'newest'} goal
 * @returns {HistoryRequest}
 */
function pageAt(goal) {
  if (goal === 'newest') return { kind: 'newest', range: {}, limit: PAGE_SIZE };
  return { kind: 'around', range: { after_seq: Math.max(0, goal - BEFORE) }, limit: PAGE_SIZE + BEFORE };
}

/**
 * @param {Room} room
 * @returns {HistoryRequest | null}
 */
function nextPage({ messages, wantsOlder, hasOlder, wantsNewer, hasNewer }) {
  const [first, last] = [messages[0]?.seq ?? 1, messages.at(-1)?.seq ?? 0];
  if (wantsOlder && hasOlder) return { kind: 'older', range: { before_seq: first }, limit: PAGE_SIZE };
  if (wantsNewer && hasNewer) return { kind: 'newer', range: { after_seq: last }, limit: PAGE_SIZE };
  return null;
}

/**
 * Asks for another piece of the history.
 *
 * @param {Room} room
 * @param {number | 'newest'} goal
 */
export function goTo(room, goal) {
  const isThere = goal === 'newest' ? !room.hasNewer : indexOf(room.messages, goal) >= 0;
  room.goal = room.loaded && isThere ? null : goal;
  room.historyError = '';
}

/**
 * Returns the position that a new connection has to resume from.
 *
 * @param {Room} room
 * @returns {Position | null} null: from now on
 */
export function resumePosition(room) {
  if (!room.loaded || room.recalled) return null;
  const { messages, hasNewer, lastSeq, epoch, lastChange } = room;
  // Behind a piece that ends before, messages were only counted.
  const end = hasNewer ? lastSeq : (messages.at(-1)?.seq ?? 0);
  const after_seq = hasNewer ? end : (findGap(messages)?.after ?? end);
  return { after_seq, epoch, ...(lastChange !== null && { after_change: lastChange }) };
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
  settle(room, page.messages);
  noteAge(room, page.last_change ?? 0);
  const known = request.kind === 'around' ? [] : kept(room, page, request);
  room.messages = merge(known, page.messages);
  const added = room.messages.length - known.length;
  for (const message of room.coming) if (message.seq - 1 === room.messages.at(-1)?.seq) room.messages.push(message);
  for (const message of room.messages) notePin(room, message);
  room.lastSeq = Math.max(room.lastSeq, room.messages.at(-1)?.seq ?? 0);
  TAKE[request.kind](room, page, added, request);
}

/**
 * @param {Room} room
 * @param {HistoryPage} page
 * @param {HistoryRequest} request
 * @returns {ChatMessage[]} the loaded messages that go together with the page
 */
function kept({ messages }, page, { kind }) {
  const first = kind === 'newest' ? (page.messages[0]?.seq ?? 0) : 0;
  return messages.filter((message) => message.seq >= first);
}

/**
 * What a page means for the ends of the loaded piece.
 *
 * @type {Record<HistoryRequest['kind'],
 *   (room: Room, page: HistoryPage, added: number, request: HistoryRequest) => void>}
 */
const TAKE = {
  newest(room, page, added) {
    Object.assign(room, { loaded: true, goal: null, hasOlder: page.has_more && added > 0 });
    // What came live while a later piece was loaded instead was only counted.
    room.hasNewer = room.wantsNewer = isBehind(room);
  },
  around(room, page, added, { range }) {
    // There is nothing: the history may have been cut.
    if (added === 0) room.goal = 'newest';
    else Object.assign(room, { loaded: true, goal: null, hasOlder: (range.after_seq ?? 0) > 0 });
    room.hasNewer = isBehind(room);
  },
  older(room, page, added) {
    room.wantsOlder = false;
    room.hasOlder = page.has_more && added > 0;
    if (room.messages.length <= KEEP_MOST) return;
    room.messages = room.messages.slice(0, KEEP_MOST);
    room.hasNewer = true;
  },
  newer(room, page, added) {
    room.wantsNewer = false;
    room.hasNewer = isBehind(room);
    if (added === 0 && room.hasNewer) room.historyError = MISSING;
    if (room.messages.length <= KEEP_MOST) return;
    room.messages = room.messages.slice(-KEEP_MOST);
    room.hasOlder = true;
  },
  fill(room, page, added, { range }) {
    if (findGap(room.messages)?.after === range.after_seq) room.historyError = MISSING;
  },
};

const MISSING = t('log.missing');

/**
 * @param {Room} room
 * @returns {boolean} whether the room goes on behind what is loaded
 */
function isBehind({ messages, lastSeq }) {
  return (messages.at(-1)?.seq ?? 0) < lastSeq;
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
  const tellsChanges = room.lastChange !== null;
  forget(room);
  room.goal = null;
  if (kind !== 'newest') return false;
  startChanges(room, tellsChanges ? (page.last_change ?? 0) : undefined);
  startHistory(room, page.epoch, page.messages.at(-1)?.seq ?? 0);
  return true;
}
