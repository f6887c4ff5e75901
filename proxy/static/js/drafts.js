/**
 * What was begun in a room and not sent, kept for all tabs and over reloads.
 *
 * The rules:
 * - A tab stores what was typed in it, and only when that changed: two tabs do not overwrite
 *   each other's in turns.
 * - What another tab stored is taken over where nothing else was typed here; into the room in
 *   view only that it was sent there, for it is not to be sent twice.
 * - The draft of a room that one left stays: it is there again when one comes back.
 * - At most MOST drafts are kept, the newest; of each at most LONGEST characters.
 *
 * @typedef {import('./room.js').Room} Room
 *
 * @typedef {object} Draft
 * @property {string} text
 * @property {number} replyTo the message that it answers; 0 for none
 * @property {{seq: number, text: string} | null} editing the half-done edit of a message
 * @property {string} epoch of the history that these positions are of
 * @property {string} user whose it is, where a token says so; else empty
 * @property {number} at when it was stored, in milliseconds since 1970
 */

import { Area, parse } from './area.js';
import { asSeq, asText } from './saved.js';

const KEY = 'chat.draft.';
export const MOST = 30;
export const LONGEST = 40_000;

export class Drafts {
  #area;
  /** @type {Map<string, string>} what is stored, as far as known, by room */
  #stored = new Map();
  /** @type {Map<string, string>} what this tab last stored, or took over */
  #mine = new Map();
  /** @type {WeakSet<Room>} */
  #met = new WeakSet();

  /** @param {Area} area */
  constructor(area) {
    this.#area = area;
    for (const key of area.keys(KEY)) this.#stored.set(key.slice(KEY.length), wordsOf(asDraft(area.read(key))));
  }

  /**
   * Gives rooms that were not there before what was begun in them.
   *
   * @param {Iterable<Room>} rooms
   * @param {string} [user]
   */
  restore(rooms, user = '') {
    for (const room of rooms) {
      if (this.#met.has(room)) continue;
      this.#met.add(room);
      const draft = asDraft(this.#area.read(KEY + room.id));
      this.#mine.set(room.id, wordsOf(draft));
      if (draft?.user === user && draftOf(room) === null) fill(room, draft);
    }
  }

  /**
   * Stores what changed.
   *
   * @param {Iterable<Room>} rooms
   * @param {string} [user]
   * @param {number} [now] milliseconds since 1970
   */
  save(rooms, user = '', now = Date.now()) {
    for (const room of rooms) {
      const draft = draftOf(room, user, now);
      const words = wordsOf(draft);
      if (words === (this.#mine.get(room.id) ?? '') || !this.#met.has(room)) continue;
      this.#mine.set(room.id, words);
      this.#note(room.id, words);
      if (draft) this.#area.write(KEY + room.id, draft);
      else this.#area.remove(KEY + room.id);
    }
    this.#bound();
  }

  /**
   * Takes a change by another tab.
   *
   * @param {Pick<StorageEvent, 'key' | 'newValue' | 'storageArea'>} event
   * @param {ReadonlyMap<string, Room>} rooms
   * @param {{current?: string, user?: string}} [here] the room in view, and the user
   * @returns {boolean} whether it changed a room
   */
  heard({ key, newValue, storageArea }, rooms, { current = '', user = '' } = {}) {
    if (!key?.startsWith(KEY) || !this.#area.is(storageArea)) return false;
    const id = key.slice(KEY.length);
    const theirs = asDraft(parse(newValue ?? 'null'));
    const before = this.#stored.get(id) ?? '';
    this.#note(id, wordsOf(theirs));
    const room = rooms.get(id);
    if (!room) return false;
    const isAsStored = wordsOf(draftOf(room)) === before;
    // What was typed here is stored again, now that the other one is gone.
    if (!isAsStored && !theirs) this.#mine.delete(id);
    if (!isAsStored || (theirs && (id === current || theirs.user !== user))) return false;
    fill(room, theirs);
    this.#mine.set(id, wordsOf(theirs));
    return true;
  }

  /**
   * @param {string} id
   * @param {string} words
   */
  #note(id, words) {
    if (words) this.#stored.set(id, words);
    else this.#stored.delete(id);
  }

  #bound() {
    if (this.#stored.size <= MOST) return;
    const ages = [...this.#stored.keys()].map((id) => ({ id, at: asDraft(this.#area.read(KEY + id))?.at ?? 0 }));
    ages.sort((one, other) => other.at - one.at);
    for (const { id } of ages.slice(MOST)) {
      this.#stored.delete(id);
      this.#area.remove(KEY + id);
    }
  }
}

/**
 * @param {Room} room
 * @param {string} [user]
 * @param {number} [at]
 * @returns {Draft | null} null if nothing was begun
 */
export function draftOf({ draft, replyTo, editing, epoch }, user = '', at = 0) {
  if (!draft && !editing) return null;
  const edited = editing && { ...editing, text: cut(editing.text) };
  return { text: cut(draft), replyTo, editing: edited, epoch, user, at };
}

/** @param {string} text */
function cut(text) {
  // Not in the middle of a character.
  return text.length > LONGEST ? text.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, '') : text;
}

/**
 * @param {Draft | null} draft
 * @returns {string} what two drafts that are alike have in common; empty for none
 */
function wordsOf(draft) {
  return draft ? JSON.stringify([draft.text, draft.replyTo, draft.editing]) : '';
}

/**
 * @param {Room} room
 * @param {Draft | null} draft
 */
function fill(room, draft) {
  const isSameHistory = draft !== null && draft.epoch === room.epoch;
  room.editing = isSameHistory ? draft.editing : null;
  room.replyTo = isSameHistory ? draft.replyTo : 0;
  // Positions of another history say nothing, but the words stay.
  room.draft = draft?.text || (draft && !isSameHistory ? (draft.editing?.text ?? '') : '');
}

/**
 * @param {any} value as found in the storage
 * @returns {Draft | null} null if it is no draft
 */
function asDraft(value) {
  if (typeof value !== 'object' || value === null) return null;
  const seq = asSeq(value.editing?.seq) ?? 0;
  const editing = seq > 0 ? { seq, text: asText(value.editing.text) } : null;
  const text = asText(value.text);
  const at = Number.isFinite(value.at) ? value.at : 0;
  if (!text && !editing) return null;
  return { text, replyTo: asSeq(value.replyTo) ?? 0, editing, epoch: asText(value.epoch), user: asText(value.user), at };
}
