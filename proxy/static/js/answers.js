/**
 * What the server's frames mean for the store. Pure: what is asked, and when, is up to
 * `sync.js`.
 *
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./requests.js').Asked} Asked
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 */

import { putBack, refuseChange, settleChange } from './changing.js';
import { sentenceOf } from './errors.js';
import { applyHistory } from './history.js';
import { applyJoined, forget } from './room.js';
import { applyChangesPage, applyState } from './states.js';

/**
 * Takes a frame that is neither a message nor an error.
 *
 * @param {Store} store
 * @param {ServerFrame} frame
 * @param {Asked | undefined} asked the request that it answers
 */
export function takeFrame(store, frame, asked) {
  const { requestId } = frame;
  const room = store.rooms.get(asked?.roomId ?? '');
  switch (frame.kind) {
    case 'joined':
      withRoom(store, frame.body.room_id, (joined) => applyJoined(joined, frame.body));
      return;
    case 'chat_history':
      if (room?.request?.requestId === requestId) applyHistory(room, frame.body);
      return;
    case 'changes':
      store.change(frame.body);
      return;
    case 'room_changes':
      if (room?.changesRequest !== requestId) return;
      if (frame.body.epoch === room.epoch) applyChangesPage(room, frame.body);
      else forget(room);
      return;
    case 'changed_message':
      withRoom(store, frame.body.message.room_id, (changed) => {
        applyState(changed, frame.body.message);
        if (asked?.kind === 'change') settleChange(changed, asked.messageId, frame.body.message);
      });
      return;
    case 'mark':
      store.mark(frame.body);
      return;
    case 'marked_read':
      if (room?.markRequest !== requestId) return;
      room.markRequest = '';
      store.mark(frame.body.mark);
  }
}

/**
 * Puts back a request that may succeed later.
 *
 * @param {Store} store
 * @param {Asked} asked
 */
export function undo(store, { kind, roomId, messageId }) {
  withRoom(store, roomId, (room) => {
    if (kind === 'join') room.phase = 'idle';
    if (kind === 'history') room.request = null;
    if (kind === 'changes') room.changesRequest = '';
    if (kind === 'change') putBack(room, messageId);
  });
  if (kind === 'send') store.amend(roomId, messageId, { inFlight: false });
}

/**
 * Takes a refusal that is final.
 *
 * @param {Store} store
 * @param {Pick<Asked, 'kind' | 'roomId' | 'messageId'>} asked
 * @param {ErrorBody} error
 * @returns {string} why a change was refused; empty if it was something else
 */
export function refuse(store, { kind, roomId, messageId }, error) {
  const reason = sentenceOf(error);
  if (kind === 'send') store.amend(roomId, messageId, { state: 'failed', error: reason, inFlight: false });
  const room = store.rooms.get(roomId);
  if (!room) return '';
  if (kind === 'join') Object.assign(room, { phase: 'refused', error: reason });
  // What was read at an earlier visit is not to be read any more.
  if (kind === 'join' && room.recalled) forget(room);
  if (kind === 'history') Object.assign(room, { request: null, historyError: reason });
  if (kind === 'changes') Object.assign(room, { changesRequest: '', historyError: reason });
  return kind === 'change' ? refuseChange(room, messageId, error) : '';
}

/**
 * Takes a refusal of `mark_read`. Where marks are refused, the positions that this device
 * keeps are all there is.
 *
 * @param {Store} store
 * @param {Asked} asked
 * @param {ErrorBody} error
 * @returns {boolean} whether it may be asked again
 */
export function refuseMark(store, { roomId }, error) {
  // A history that was replaced meanwhile has positions of its own.
  const again = error.retryable || error.code === 'FAILED_PRECONDITION';
  withRoom(store, roomId, (room) => {
    room.markRequest = '';
    room.markedSeq = again ? null : Infinity;
  });
  return again;
}

/**
 * Puts back a join in the way of servers of before, or under another name.
 *
 * @param {Room | undefined} room
 */
export function startOver(room) {
  if (room) Object.assign(room, { phase: 'idle', markedSeq: null, markRequest: '' });
}

/**
 * @param {Store} store
 * @param {string} roomId
 * @param {(room: Room) => void} change
 */
function withRoom(store, roomId, change) {
  const room = store.rooms.get(roomId);
  if (room) change(room);
}
