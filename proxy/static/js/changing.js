/**
 * A room's outbox of changes, as the conversation uses it: what goes in, what is to be sent now,
 * what an answer means. The rules are those of `changes.js`. Pure.
 *
 * @typedef {import('./changes.js').PendingChange} PendingChange
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 * @typedef {import('./room.js').Room} Room
 */

import {
  addChange,
  amendChange,
  confirmChange,
  departing,
  discardChanges,
  dueChanges,
  makeChange,
  retryChanges,
  reviveChanges,
} from './changes.js';
import { sentenceOf } from './errors.js';
import { findMessage } from './messages.js';
import { t } from './texts.js';

/**
 * Notes what the user wants to hold of a loaded message.
 *
 * @param {Room} room
 * @param {number} seq
 * @param {Pick<PendingChange, 'id' | 'user_id' | 'kind' | 'value'>} what
 */
export function wantChange(room, seq, what) {
  const message = findMessage(room, seq);
  if (!message) return;
  const change = makeChange(message, { ...what, epoch: room.epoch });
  room.changes = addChange(room.changes, change);
}

/**
 * @param {Room} room
 * @param {number} seq of a message whose refused changes are to be sent again
 */
export function wantAgain(room, seq) {
  room.changes = retryChanges(room.changes, seq, findMessage(room, seq));
}

/**
 * @param {Room} room
 * @param {number} seq of a message whose refused changes are dropped
 */
export function dropRefused(room, seq) {
  room.changes = discardChanges(room.changes, seq);
}

/**
 * Takes the changes that are to be sent now: from here on they are on their way.
 *
 * @param {Room} room
 * @returns {PendingChange[]} none before the room is joined: in another history, a position means another message
 */
export function takeDue(room) {
  if (room.changes.length === 0 || room.phase !== 'joined' || room.lastChange === null) return [];
  room.changes = reviveChanges(room.changes, (seq) => findMessage(room, seq));
  return dueChanges(room.changes).map((due) => {
    const change = departing(due, findMessage(room, due.seq));
    room.changes = amendChange(room.changes, due.id, change);
    return change;
  });
}

/**
 * Takes the answer to a change.
 *
 * @param {Room} room
 * @param {string} id
 * @param {ChatMessage} message as it stands now
 */
export function settleChange(room, id, message) {
  const done = room.changes.find((change) => change.id === id);
  if (done?.kind === 'react') room.reacted.add(`${done.seq} ${done.value}`);
  if (done?.kind === 'unreact') room.reacted.delete(`${done.seq} ${done.value}`);
  room.changes = confirmChange(room.changes, id, message);
}

/**
 * @param {Room} room
 * @param {string} id of a change that is to be sent again
 */
export function putBack(room, id) {
  room.changes = amendChange(room.changes, id, { inFlight: false });
}

/**
 * Takes the refusal of a change.
 *
 * @param {Room} room
 * @param {string} id
 * @param {ErrorBody} error
 * @returns {string} why, for people
 */
export function refuseChange(room, id, error) {
  const stale = error.code === 'FAILED_PRECONDITION';
  const reason = stale ? t('message.changed') : sentenceOf(error);
  room.changes = amendChange(room.changes, id, { state: 'failed', error: reason, stale, inFlight: false });
  return reason;
}

/**
 * Takes the loss of the connection.
 *
 * @param {Room} room
 */
export function recallChanges(room) {
  room.changes = room.changes.map((change) => ({ ...change, inFlight: false }));
}

/**
 * Drops what belongs to a history that is gone.
 *
 * @param {Room} room of a new epoch
 */
export function forgetChanges(room) {
  room.changes = room.changes.filter(({ epoch }) => epoch === room.epoch);
  room.reacted.clear();
  room.replyTo = 0;
  room.editing = null;
}

/**
 * Says what would be lost with a room.
 *
 * @param {Pick<Room, 'pending' | 'changes'>} room
 * @returns {string} empty for nothing
 */
export function lossOf({ pending, changes }) {
  if (pending.length > 0) return t('confirm.unsent', { count: pending.length });
  return changes.length > 0 ? t('confirm.unsaved', { count: changes.length }) : '';
}
