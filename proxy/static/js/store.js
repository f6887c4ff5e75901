/**
 * The state of the page, and the only place where it changes: the user, the rooms,
 * the current room, and the connection's state. Pure: no network, no page, no clock.
 *
 * @typedef {import('./changes.js').PendingChange} PendingChange
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./room.js').Pending} Pending
 *
 * @typedef {object} Link the connection's state, as shown
 * @property {'idle' | 'connecting' | 'open' | 'waiting' | 'ended'} phase
 * @property {number} tries number of failed attempts in a row
 * @property {number} retryAt milliseconds of `ticks()`, while waiting
 * @property {string} reason the server's reason for the close
 * @property {number} code the close code; 0 before a close
 *
 * @typedef {object} View what is in view of the current room
 * @property {number} first position of the first message in view
 * @property {number} last position of the last one; less than `first` if there is none
 * @property {boolean} atEnd whether nothing comes behind it
 */

import { dropRefused } from './changing.js';
import { applyMessage } from './history.js';
import { applyInfo, inOrder } from './info.js';
import { People } from './people.js';
import { adoptReading, applyMark, placeLine, readAll, see, unread } from './reading.js';
import { createRoom } from './room.js';
import { extraOf } from './saved.js';
import { applyChanges } from './states.js';

export class Store {
  /** The user's id; empty before one has entered. */
  self = '';
  /** The name that is shown of the user. */
  name = '';
  /** Whether the server knows that name. */
  isTold = false;
  /** The last name that the server took. */
  #toldName = '';
  /** Whether the page itself keeps who the user is. */
  isGuest = false;
  people = new People();
  /** @type {import('./members.js').Members | null} the list of people that is open */
  members = null;
  /** Who was seen in a room from outside, before one enters. */
  seenThere = { roomId: '', ids: /** @type {string[]} */ ([]) };
  currentId = '';
  /** Whether the user may do what moderators may. */
  moderates = true;
  /** Whether a token names the user. */
  signedIn = false;
  /** Whether the newest message of the current room is in view: what comes is shown. */
  following = false;
  /** Whether also all is read, and the page has the attention: what comes is read. */
  reading = false;
  /** @type {Map<string, Room>} in the order of joining */
  rooms = new Map();
  /** @type {Link} */
  link = { phase: 'idle', tries: 0, retryAt: 0, reason: '', code: 0 };
  /** When the connection was lost, in milliseconds of `Date.now()`; 0 while there is one. */
  lostAt = 0;
  /** Why the connected server refuses requests; or empty. */
  trouble = '';

  /** @returns {Room | undefined} */
  get current() {
    return this.rooms.get(this.currentId);
  }

  /** @returns {number} unread messages in all rooms */
  get unreadTotal() {
    return [...this.rooms.values()].reduce((sum, room) => sum + unread(room), 0);
  }

  /**
   * Makes somebody the user.
   *
   * @param {import('./identity.js').Identity} identity
   * @param {boolean} isGuest whether no token says so
   */
  become({ id, name, told }, isGuest) {
    this.self = id;
    this.isGuest = isGuest;
    this.isTold = told;
    this.#toldName = told ? name : id;
    this.#showName(name);
  }

  /** @returns {import('./identity.js').Identity} */
  get identity() {
    return { id: this.self, name: this.name, told: this.isTold };
  }

  /** @param {string} name the new name of the user, that the server is to be told */
  rename(name) {
    this.isTold = false;
    this.#showName(name);
  }

  /** @param {string} name which the server knows now */
  confirmName(name) {
    this.#toldName = name;
    this.isTold = name === this.name;
  }

  /** @param {string} name of the user, as the server or another tab knows it */
  adoptName(name) {
    this.#showName(name);
    this.confirmName(name);
  }

  /** Gives a name up that the server refused. */
  takeNameBack() {
    this.adoptName(this.#toldName || this.self);
  }

  /**
   * Takes what the server says of users.
   *
   * @param {import('./people.js').User[]} users
   * @param {boolean} isAnswer whether they are those who were asked for
   * @param {number} now in milliseconds of `ticks()`
   */
  learn(users, isAnswer, now) {
    if (isAnswer) this.people.answered(users, now);
    else this.people.learn(users, now);
    this.#showName(this.name);
  }

  /** @param {string} name shown at once, whatever was heard of it */
  #showName(name) {
    this.name = name;
    if (this.self) this.people.learn([{ id: this.self, name }], Infinity);
  }

  /**
   * @param {string} id
   * @param {{epoch?: string, readSeq?: number | null, title?: string}} [saved]
   * @returns {Room} the room, new or known
   */
  addRoom(id, saved) {
    const room = this.rooms.get(id) ?? createRoom(id, saved);
    this.rooms.set(id, room);
    return room;
  }

  /**
   * Takes over another tab's state of a room.
   *
   * @param {import('./saved.js').SavedRoom} saved
   */
  adopt(saved) {
    const room = this.addRoom(saved.id, saved);
    if (room.epoch !== saved.epoch || room.readSeq === null || saved.readSeq === null) return;
    adoptReading(room, saved.readSeq);
    if (unread(room) === 0 && room.id !== this.currentId) room.markSeq = null;
  }

  /**
   * Takes a room out. The one after it becomes the current one, or else the one before.
   *
   * @param {string} id
   */
  removeRoom(id) {
    const next = this.neighbour(1) || this.neighbour(-1);
    this.rooms.delete(id);
    if (id === this.currentId) this.select(next);
  }

  /**
   * Takes what the server says of rooms.
   *
   * @param {import('./directory.js').Summary[]} summaries
   */
  learnRooms(summaries) {
    for (const { room: info } of summaries) {
      const room = this.rooms.get(info.id);
      if (room) applyInfo(room, info);
    }
  }

  /**
   * Puts a room back that was taken out, with all that was in it.
   *
   * @param {Room} room
   */
  putBack(room) {
    if (!this.rooms.has(room.id)) this.rooms.set(room.id, room);
  }

  /**
   * @param {number} step 1 for the room below the current one, -1 for the one above
   * @returns {string} its id, or empty at the end of the list
   */
  neighbour(step) {
    const ids = inOrder(this.rooms.values()).map(({ id }) => id);
    const index = ids.indexOf(this.currentId);
    return index < 0 ? '' : (ids[index + step] ?? '');
  }

  /**
   * Makes a known room the current one.
   *
   * @param {string} id of a known room, or empty for none
   */
  select(id) {
    if (id === this.currentId) return;
    if (this.current) this.current.markSeq = null;
    this.currentId = id;
    this.following = this.reading = false;
    const room = this.current;
    if (room && unread(room) > 0) room.markSeq ??= room.readSeq;
  }

  /**
   * Notes what is in view.
   *
   * @param {View} view
   * @param {boolean} hasAttention whether somebody looks at the page
   * @returns {boolean} whether something was read by that
   */
  look({ first, last, atEnd }, hasAttention) {
    const room = this.current;
    const before = room?.seenSeq;
    this.following = atEnd;
    if (room && hasAttention) see(room, first, last, this.self);
    this.reading = hasAttention && atEnd && room !== undefined && unread(room) === 0;
    return room?.seenSeq !== before;
  }

  /** Moves the line "New" of the current room to where reading stopped. */
  moveLine() {
    if (this.current) this.current.markSeq = this.current.readSeq;
  }

  /**
   * Marks the current room as read, and takes the line "New" away.
   *
   * @returns {ReturnType<typeof readAll>}
   */
  readAll() {
    return this.current ? readAll(this.current, this.self) : null;
  }

  /**
   * Takes how far the user has read a room, perhaps on another device.
   *
   * @param {import('./protocol.js').Mark} mark
   */
  mark(mark) {
    const room = this.rooms.get(mark.room_id);
    if (!room) return;
    applyMark(room, mark);
    if (room.id !== this.currentId) room.markSeq = unread(room) > 0 ? room.readSeq : null;
  }

  /**
   * Takes what became of messages.
   *
   * @param {import('./protocol.js').RoomChanges} changes
   */
  change(changes) {
    const room = this.rooms.get(changes.room_id);
    if (!room) return;
    applyChanges(room, changes);
    // One that mentions the user may be gone: they are to be counted again.
    const isLess = changes.messages.some(({ state }) => state?.deleted_at !== undefined);
    if (isLess && room.mentions > 0) room.markedSeq = null;
  }

  /**
   * @param {ChatMessage} message
   * @returns {boolean} whether it has just been sent, and was not received before
   */
  isNews({ room_id: roomId, seq }) {
    const room = this.rooms.get(roomId);
    return room !== undefined && seq > Math.max(room.lastSeq, room.liveSeq);
  }

  /**
   * Takes a message from the server.
   *
   * @param {ChatMessage} message
   * @returns {boolean} whether it is shown now and was not before
   */
  receive(message) {
    const room = this.rooms.get(message.room_id);
    if (!room) return false;
    const caughtUp = unread(room) === 0;
    const isCurrent = room.id === this.currentId;
    const added = applyMessage(room, message, this.self, isCurrent && this.following);
    // What was missed is read when it was in view, not when it comes.
    const isLive = message.seq > room.liveSeq;
    if (isCurrent && this.reading && isLive) see(room, message.seq, message.seq, this.self);
    placeLine(room, caughtUp);
    return added;
  }

  /**
   * Appends an own message, to be sent.
   *
   * @param {string} roomId
   * @param {string} id
   * @param {string} content
   * @param {string} created RFC 3339
   * @param {Pending['extra']} [extra]
   */
  compose(roomId, id, content, created, extra = null) {
    const room = this.addRoom(roomId);
    room.markSeq = null;
    room.pending.push({
      id,
      room_id: roomId,
      sender_id: this.self,
      content,
      created,
      state: 'sending',
      error: '',
      inFlight: false,
      extra,
    });
  }

  /**
   * Takes what the composer holds: the draft, or the new text of a message.
   *
   * @param {string} text
   */
  keepDraft(text) {
    const room = this.current;
    if (room?.editing) room.editing.text = text;
    else if (room) room.draft = text;
  }

  /**
   * Ends answering: the answer is sent.
   *
   * @param {string[]} mentions
   * @returns {Pending['extra']} what goes with it
   */
  takeExtra(mentions) {
    const room = this.current;
    const answered = room?.replyTo ?? 0;
    if (room) room.replyTo = 0;
    return extraOf(answered, mentions);
  }

  /**
   * Drops the refused changes of a message.
   *
   * @param {string} roomId
   * @param {number} seq
   */
  discardChanges(roomId, seq) {
    const room = this.rooms.get(roomId);
    if (room) dropRefused(room, seq);
  }

  /** @returns {PendingChange[]} the unconfirmed changes of all rooms */
  changes() {
    return [...this.rooms.values()].flatMap((room) => room.changes);
  }

  /**
   * Changes an unconfirmed message. One confirmed meanwhile stays unchanged.
   *
   * @param {string} roomId
   * @param {string} id
   * @param {Partial<Pick<Pending, 'state' | 'error' | 'inFlight'>>} change
   */
  amend(roomId, id, change) {
    const room = this.rooms.get(roomId);
    if (!room) return;
    room.pending = room.pending.map((pending) =>
      pending.id === id ? { ...pending, ...change } : pending,
    );
  }

  /**
   * Drops an unconfirmed message.
   *
   * @param {string} roomId
   * @param {string} id
   */
  discard(roomId, id) {
    const room = this.rooms.get(roomId);
    if (room) room.pending = room.pending.filter((pending) => pending.id !== id);
  }

  /** @returns {Pending[]} the unconfirmed messages of all rooms */
  outbox() {
    return [...this.rooms.values()].flatMap((room) => room.pending);
  }
}
