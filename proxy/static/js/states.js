/**
 * What becomes of a room's messages. Pure.
 *
 * Changes of a room are numbered; what a change did is told as the state that the message
 * has now. So a state may come late, twice, or beside a page of history that has it already:
 * of two states of a message the one with the larger number holds.
 *
 * The rules:
 * - `room.lastChange` says: all changes up to this one are in the loaded messages. Changes
 *   of messages that are not loaded are not kept, for a page that brings them has them.
 * - Frames tell spans of changes. One that begins at `lastChange` or before continues it. One
 *   that begins later is not looked at, for of what it leaves out (texts that did not change
 *   in it) some may have changed before it: the span between is asked for.
 * - Pages of changes are read to the last one before a live span counts again: a page that
 *   ends early leaves out what changed again behind it, also the texts that it had before, and
 *   the live span leaves out texts that it did not change.
 * - A page of history may have been read before a change that overtook it. It says up to which
 *   change it is good, and `lastChange` goes back to that: what is behind is asked for again.
 * - `newestChange` is the newest one heard of; while `lastChange` is less, something is missing.
 *
 * @typedef {import('./protocol.js').ChangesPage} ChangesPage
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').MessageChange} MessageChange
 * @typedef {import('./protocol.js').RoomChanges} RoomChanges
 * @typedef {import('./room.js').Room} Room
 */

import { applyInfo } from './info.js';
import { changeOf, indexOf } from './messages.js';
import { noteFarPin, notePin } from './pins.js';

/**
 * Begins with a history of which nothing is loaded.
 *
 * @param {Room} room
 * @param {number | undefined} lastChange undefined if the server tells no changes
 */
export function startChanges(room, lastChange) {
  room.lastChange = lastChange ?? null;
  room.newestChange = lastChange ?? 0;
  room.changesRequest = '';
  room.isPaging = false;
  room.pins.clear();
}

/**
 * Takes what was told live or replayed.
 *
 * @param {Room} room
 * @param {RoomChanges} changes
 */
export function applyChanges(room, changes) {
  if (changes.room) applyInfo(room, changes.room);
  if (room.lastChange === null) return;
  room.newestChange = Math.max(room.newestChange, changes.last_change);
  if (room.isPaging || changes.after_change > room.lastChange) return;
  take(room, changes);
}

/**
 * @param {Room} room
 * @param {RoomChanges} changes which continue `lastChange`
 */
function take(room, changes) {
  for (const change of changes.messages) applyChange(room, change);
  room.lastChange = Math.max(room.lastChange ?? 0, changes.last_change);
}

/**
 * Takes the answer to `room.changesRequest`.
 *
 * @param {Room} room
 * @param {ChangesPage} page of the room's own epoch
 */
export function applyChangesPage(room, page) {
  room.changesRequest = '';
  if (page.changes.room) applyInfo(room, page.changes.room);
  if (room.lastChange === null || page.changes.after_change > room.lastChange) return;
  take(room, page.changes);
  room.isPaging = page.has_more;
  // A server that has no more than that will not have more if it is asked again.
  if (!page.has_more && room.lastChange <= page.changes.after_change) room.newestChange = room.lastChange;
}

/**
 * @param {Room} room
 * @returns {number | null} the change behind which some are missing; null: none are
 */
export function missingChanges(room) {
  const { lastChange, newestChange, isPaging, phase, changesRequest, historyError } = room;
  if (lastChange === null || (lastChange >= newestChange && !isPaging)) return null;
  return phase === 'joined' && !changesRequest && !historyError ? lastChange : null;
}

/**
 * Notes how new a page of history is whose messages were taken.
 *
 * @param {Room} room
 * @param {number} pageChange all changes up to that one are in them
 */
export function noteAge(room, pageChange) {
  if (room.lastChange !== null) room.lastChange = Math.min(room.lastChange, pageChange);
}

/**
 * Takes a message as it stands: the answer to a change, for one.
 *
 * @param {Room} room
 * @param {ChatMessage} message
 */
export function applyState(room, message) {
  const index = indexOf(room.messages, message.seq);
  if (index < 0 || changeOf(message) <= changeOf(room.messages[index])) return;
  room.messages[index] = message;
  notePin(room, message);
}

/**
 * @param {Room} room
 * @param {MessageChange} change
 */
function applyChange(room, change) {
  const { seq, content, state } = change;
  const known = room.messages[indexOf(room.messages, seq)];
  if (!known) noteFarPin(room, change);
  room.coming = room.coming.filter((message) => message.seq !== seq);
  if (!known || !state) return;
  const text = content ?? known.content;
  const deleted = state.deleted_at !== undefined;
  // Nothing is left of a deleted message but its place.
  const rest = deleted ? { content: '', extra: { state } } : { content: text, extra: { ...known.extra, state } };
  applyState(room, { ...known, ...rest });
}
