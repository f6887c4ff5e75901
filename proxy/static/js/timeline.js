/**
 * The lines of a room's log, from its state: which messages, under which day, and
 * which of them open a group by one sender. Pure; days are those of local time.
 *
 * @typedef {import('./look.js').Look} Look
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {import('./room.js').Room} Room
 *
 * @typedef {object} DayLine
 * @property {'day'} kind
 * @property {string} key
 * @property {Date} at
 *
 * @typedef {object} MarkLine stands above the unread messages
 * @property {'mark'} kind
 * @property {string} key
 *
 * @typedef {object} MessageLine
 * @property {'message'} kind
 * @property {string} key
 * @property {ChatMessage | Pending} message a new object when it changes
 * @property {'sending' | 'sent' | 'failed'} state
 * @property {Date} at
 * @property {boolean} own
 * @property {boolean} opens whether it is the first of a group
 * @property {Look | null} look how it looks, where that is more than its text
 * @property {{seq: number, message: ChatMessage | undefined, content: string} | null} quote the message
 *   that it answers; undefined where that is not loaded
 * @property {boolean} mentioned whether it is for the user
 *
 * @typedef {DayLine | MarkLine | MessageLine} Line
 */

import { lookOf } from './look.js';
import { findMessage, messageKey } from './messages.js';
import { isFor } from './reading.js';

/** A message this long after the one before it opens a new group. */
export const GROUP_MS = 5 * 60 * 1000;

/**
 * @param {Room} room
 * @param {string} self the user's own name
 * @returns {Line[]}
 */
export function timeline(room, self) {
  /** @type {Line[]} */
  const lines = [];
  /** @type {MessageLine | null} */
  let previous = null;
  for (const line of messageLines(room, self)) {
    const sameDay = previous && dayOf(previous.at) === dayOf(line.at);
    if (!sameDay) lines.push({ kind: 'day', key: `day ${dayOf(line.at)}`, at: line.at });
    const marked = isMarked(room, previous, line);
    if (marked) lines.push({ kind: 'mark', key: 'mark' });
    line.opens = !sameDay || marked || !previous || !continues(previous, line);
    lines.push(line);
    previous = line;
  }
  return lines;
}

/**
 * @param {Room} room
 * @param {string} self
 * @returns {MessageLine[]} in order, the unconfirmed ones last
 */
function messageLines(room, self) {
  const { messages, pending, changes } = room;
  const unsaved = new Set(changes.map(({ seq }) => seq));
  const sent = messages.map((message) => {
    const line = lineOf(message, 'sent', message.sent_at, self);
    if (message.extra || unsaved.has(message.seq)) adorn(line, message, room, self);
    return line;
  });
  const unsent = pending.map((message) => {
    const line = lineOf(message, message.state, message.created, self);
    line.quote = quoteOf(message.extra?.reply_to, room, self);
    return line;
  });
  return [...sent, ...unsent];
}

/**
 * @param {MessageLine} line changed in place
 * @param {ChatMessage} message
 * @param {Room} room
 * @param {string} self
 */
function adorn(line, message, room, self) {
  line.look = lookIn(room, message, self);
  line.quote = quoteOf(message.extra?.reply_to, room, self);
  line.mentioned = isFor(message, self);
}

/**
 * @param {Room} room
 * @param {ChatMessage} message
 * @param {string} self
 * @returns {Look} with what the user did to it
 */
export function lookIn(room, message, self) {
  const { seq } = message;
  const changes = room.changes.filter((change) => change.seq === seq);
  return lookOf(message, changes, self, (emoji) => room.reacted.has(`${seq} ${emoji}`));
}

/**
 * @param {number | undefined} seq
 * @param {Room} room
 * @param {string} self
 * @returns {MessageLine['quote']}
 */
function quoteOf(seq, room, self) {
  if (!seq) return null;
  const message = findMessage(room, seq);
  return { seq, message, content: message ? lookIn(room, message, self).content : '' };
}

/**
 * @param {ChatMessage | Pending} message
 * @param {MessageLine['state']} state
 * @param {string} at
 * @param {string} self
 * @returns {MessageLine}
 */
function lineOf(message, state, at, self) {
  const own = state !== 'sent' || message.sender_id === self;
  const key = messageKey(message);
  const extras = { look: null, quote: null, mentioned: false };
  return { kind: 'message', key, message, state, at: new Date(at), own, opens: false, ...extras };
}

/** @param {Date} at */
function dayOf(at) {
  return at.toDateString();
}

/**
 * The mark stands where reading stopped. Where that place is not loaded, there is none.
 *
 * @param {Room} room
 * @param {MessageLine | null} previous
 * @param {MessageLine} line
 */
function isMarked({ markSeq, hasOlder }, previous, line) {
  if (markSeq === null || !('seq' in line.message) || line.message.seq <= markSeq) return false;
  if (!previous) return !hasOlder;
  return 'seq' in previous.message && previous.message.seq <= markSeq;
}

/**
 * @param {MessageLine} previous
 * @param {MessageLine} line
 */
function continues(previous, line) {
  const sameSender = previous.message.sender_id === line.message.sender_id;
  return sameSender && line.at.getTime() - previous.at.getTime() < GROUP_MS;
}
