/**
 * What rooms lack, and asking for it: one at a time is compared with how it should be. It is asked
 * to join, for pages, gaps and changes; told how far it was read; and sent what waits to be.
 *
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 * @typedef {import('./requests.js').Asked} Asked
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 *
 * @callback Ask
 * @param {object} payload
 * @param {{kind: Asked['kind'], roomId: string, messageId?: string}} about
 * @returns {string} the request_id
 */

import { refuseMark, startOver } from './answers.js';
import { takeDue } from './changing.js';
import { missingHistory, resumePosition } from './history.js';
import { Holds } from './holds.js';
import { request } from './payloads.js';
import { FOLLOW, knowsNoFollow } from './protocol.js';
import { owesMark } from './reading.js';
import { missingChanges } from './states.js';

/** The server is told how far a room was read at most once in this time: it stores one a second. */
export const MARK_MS = 1_200;
/** After a refusal it is told again no earlier than this. */
const MARK_AGAIN_MS = 5_000;

export class Attending {
  #store;
  #ask;
  #holds;
  /** Rooms of which the server was told how far they are read a moment ago. */
  #marked;
  /** How much the server does not know of what may be followed beside messages: steps of `FOLLOW`. */
  #follows = 0;

  /**
   * @param {Store} store
   * @param {Ask} ask
   * @param {() => void} settle called when a room has rested
   * @param {() => number} random
   */
  constructor(store, ask, settle, random) {
    this.#store = store;
    this.#ask = ask;
    this.#holds = new Holds(settle, random);
    this.#marked = new Holds(settle, () => 0);
  }

  /** Takes a new connection. */
  opened() {
    this.#follows = 0;
  }

  /** Takes the loss of the connection. */
  lost() {
    this.#holds.clear();
    this.#marked.clear();
  }

  /** @param {string} roomId of a room that is left */
  left(roomId) {
    this.#holds.release(roomId);
    this.#marked.release(roomId);
  }

  /** @param {string} roomId of a room where something succeeded */
  release(roomId) {
    this.#holds.release(roomId);
  }

  /**
   * Lets a room rest after a refusal.
   *
   * @param {string} roomId
   * @param {number} [atLeast] milliseconds
   */
  hold(roomId, atLeast) {
    this.#holds.hold(roomId, atLeast);
  }

  /** Asks for everything that is missing: first in the room that is open. */
  settle() {
    const { current, rooms } = this.#store;
    if (current) this.#settleRoom(current);
    for (const room of rooms.values()) this.#settleRoom(room);
  }

  /** @param {Room} room */
  #settleRoom(room) {
    if (room.phase === 'refused' || this.#holds.holds(room.id)) return;
    if (room.phase === 'idle') this.#join(room);
    this.#askHistory(room);
    this.#askChanges(room);
    if (room.phase === 'joined' && owesMark(room)) this.#askMark(room, room.seenSeq);
    for (const pending of room.pending) {
      if (pending.state === 'sending' && !pending.inFlight) this.#sendPending(pending);
    }
    for (const change of takeDue(room)) {
      this.#ask(request.change(change), { kind: 'change', roomId: room.id, messageId: change.id });
    }
  }

  /** @param {Room} room */
  #join(room) {
    room.phase = 'joining';
    room.follows = this.#follows;
    const payload = request.join(room.id, resumePosition(room), this.#store.self, FOLLOW[this.#follows]);
    this.#ask(payload, { kind: 'join', roomId: room.id });
    // In the same breath: how far it was read decides what is loaded first.
    if (FOLLOW[this.#follows].length > 0) this.#askMark(room, 0);
  }

  /**
   * Takes the refusal of a join, perhaps because the server knows less than was to be followed.
   *
   * @param {Asked} asked
   * @param {ErrorBody} error
   * @returns {boolean} whether that was it: the room is joined again
   */
  asksLess(asked, error) {
    const room = asked.kind === 'join' ? this.#store.rooms.get(asked.roomId) : undefined;
    if (!room || !knowsNoFollow(error)) return false;
    this.#follows = Math.max(this.#follows, room.follows + 1);
    startOver(room);
    return true;
  }

  /**
   * Tells the server how far a room was read, and is told what it knows.
   *
   * @param {Room} room
   * @param {number} seq 0 only asks
   */
  #askMark(room, seq) {
    if (room.markRequest || this.#marked.holds(room.id)) return;
    const position = seq > 0 ? { seq, epoch: room.epoch } : { seq };
    const payload = request.markRead(room.id, this.#store.self, position);
    room.markRequest = this.#ask(payload, { kind: 'mark', roomId: room.id });
    if (seq === 0) return;
    room.markedSeq = Math.max(room.markedSeq ?? 0, seq);
    this.#marked.hold(room.id, MARK_MS);
  }

  /**
   * @param {ErrorBody} error
   * @param {Asked} asked
   */
  refusedMark(error, asked) {
    if (!refuseMark(this.#store, asked, error)) return;
    this.#marked.hold(asked.roomId, Math.max(error.retry_after_ms ?? 0, MARK_AGAIN_MS));
  }

  /** @param {Room} room */
  #askChanges(room) {
    const after = missingChanges(room);
    if (after === null) return;
    const payload = request.changes(room.id, after);
    room.changesRequest = this.#ask(payload, { kind: 'changes', roomId: room.id });
  }

  /** @param {Room} room */
  #askHistory(room) {
    const missing = missingHistory(room, room.id === this.#store.currentId);
    if (!missing) return;
    const payload = request.history(room.id, missing.range, missing.limit);
    const requestId = this.#ask(payload, { kind: 'history', roomId: room.id });
    Object.assign(room, { request: { ...missing, requestId }, coming: [] });
  }

  /** @param {Pending} pending */
  #sendPending(pending) {
    this.#store.amend(pending.room_id, pending.id, { inFlight: true });
    this.#ask(request.send(pending), {
      kind: 'send',
      roomId: pending.room_id,
      messageId: pending.id,
    });
  }
}
