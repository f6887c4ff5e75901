/**
 * What was read last in each room, kept for a page that is opened without a connection.
 *
 * The rules:
 * - Of the newest ROOMS rooms, the newest messages are kept: at most MOST of each, and at most
 *   LONGEST characters. They are stored when they were loaded, and a connection was there.
 * - They are their reader's: nobody else who uses this browser is shown them. They go when the
 *   room is left or closed to the reader, and when a token is given up.
 * - They are shown until there is a connection, and no longer: then a room is loaded as if they
 *   had not been there.
 *
 * @typedef {import('./area.js').Area} Area
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').MessageState} MessageState
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 *
 * @typedef {object} KeptRoom
 * @property {string} reader
 * @property {string} epoch
 * @property {ChatMessage[]} messages
 * @property {{id: string, name: string}[]} names of the senders
 */

import { findGap } from './messages.js';
import { placeLine } from './reading.js';
import { asSeq, asText, extraOf, isMoment, isText } from './saved.js';

const ROOM = 'chat.kept.';
const AS_OF = 'chat.kept_at';
export const ROOMS = 20;
export const MOST = 50;
export const LONGEST = 40_000;

export class Kept {
  #area;
  /** @type {WeakMap<Room, {last: ChatMessage, change: number | null}>} what is stored of it */
  #stored = new WeakMap();

  /** @param {() => Area} area where to keep it: with a token, in the tab alone */
  constructor(area) {
    this.#area = area;
  }

  /**
   * Stores what is loaded, and removes what is to be kept no more.
   *
   * @param {Pick<Store, 'self' | 'rooms' | 'people' | 'link'>} store
   * @param {number} now in milliseconds since 1970
   */
  save({ self, rooms, people, link }, now) {
    for (const id of this.#ids()) {
      if ((rooms.get(id)?.phase ?? 'refused') === 'refused') this.#area().remove(ROOM + id);
    }
    if (link.phase !== 'open') return;
    this.#area().write(AS_OF, now);
    const newest = [...rooms.values()].filter(isWhole).sort((a, b) => moment(b) - moment(a)).slice(0, ROOMS);
    for (const room of newest) {
      if (!this.#isStored(room)) this.#area().write(ROOM + room.id, keptOf(room, self, people));
    }
    const chosen = new Set(newest.map(({ id }) => id));
    const others = this.#ids().filter((id) => !chosen.has(id));
    for (const id of others.slice(ROOMS - chosen.size)) this.#area().remove(ROOM + id);
  }

  /**
   * Shows what was kept, in rooms of which nothing is loaded.
   *
   * @param {Store} store
   */
  recall(store) {
    for (const room of store.rooms.values()) {
      if (room.loaded) continue;
      const kept = asKept(this.#area().read(ROOM + room.id), room.id);
      if (!kept || kept.reader !== store.self || kept.epoch !== room.epoch) continue;
      show(room, kept.messages);
      // Others may have been heard of later.
      store.people.learn(kept.names.filter(({ id }) => !store.people.has(id)), -Infinity);
      store.lostAt ||= Number(this.#area().read(AS_OF)) || 0;
    }
  }

  /** Removes all of it. */
  forget() {
    for (const id of this.#ids()) this.#area().remove(ROOM + id);
    this.#stored = new WeakMap();
  }

  #ids() {
    return this.#area().keys(ROOM).map((key) => key.slice(ROOM.length));
  }

  /** @param {Room} room */
  #isStored(room) {
    const known = this.#stored.get(room);
    const last = room.messages[room.messages.length - 1];
    this.#stored.set(room, { last, change: room.lastChange });
    return known?.last === last && known.change === room.lastChange;
  }
}

/** @param {Room} room */
function isWhole({ phase, loaded, recalled, hasNewer, messages }) {
  return phase === 'joined' && loaded && !recalled && !hasNewer && messages.length > 0 && !findGap(messages);
}

/** @param {Room} room */
function moment({ messages }) {
  return Date.parse(messages.at(-1)?.sent_at ?? '');
}

/**
 * @param {Room} room
 * @param {string} reader
 * @param {Store['people']} people
 * @returns {KeptRoom}
 */
function keptOf({ epoch, messages }, reader, people) {
  const newest = messages.slice(-MOST);
  let space = LONGEST;
  let first = newest.length;
  while (first > 0 && (space -= JSON.stringify(newest[first - 1]).length) >= 0) first -= 1;
  const kept = newest.slice(first);
  const senders = new Set(kept.map((message) => message.sender_id));
  return { reader, epoch, messages: kept, names: [...senders].map((id) => ({ id, name: people.nameOf(id) })) };
}

/**
 * @param {Room} room
 * @param {ChatMessage[]} messages
 */
function show(room, messages) {
  const [first, last] = [messages[0].seq, messages[messages.length - 1].seq];
  Object.assign(room, { messages, loaded: true, recalled: true, hasOlder: first > 1 });
  room.lastSeq = Math.max(room.lastSeq, last);
  placeLine(room, true);
}

/**
 * @param {any} value
 * @param {string} roomId
 * @returns {KeptRoom | null} null if it is no such thing, or empty
 */
function asKept(value, roomId) {
  if (!Array.isArray(value?.messages) || !Array.isArray(value.names)) return null;
  const messages = value.messages.flatMap((/** @type {any} */ each) => asMessage(each, roomId) ?? []);
  const isPiece = messages.length === value.messages.length && messages.length > 0 && !findGap(messages);
  const names = value.names.filter((/** @type {any} */ user) => isText(user?.id) && isText(user.name));
  return isPiece ? { reader: asText(value.reader), epoch: asText(value.epoch), messages, names } : null;
}

/**
 * @param {any} value
 * @param {string} room_id
 * @returns {ChatMessage | null}
 */
function asMessage(value, room_id) {
  const { id, sender_id, content, sent_at, extra } = value ?? {};
  const seq = asSeq(value?.seq);
  if (!seq || ![id, sender_id, content].every(isText) || !isMoment(sent_at)) return null;
  return { id, room_id, sender_id, content, seq, sent_at, ...(extra && { extra: asExtra(extra) }) };
}

/** @param {any} value */
function asExtra(value) {
  const mentions = Array.isArray(value.mentions) ? value.mentions.filter(isText) : [];
  const state = asState(value.state);
  const rest = { ...(value.mentions_room === true && { mentions_room: true }), ...(state && { state }) };
  return { ...extraOf(asSeq(value.reply_to) ?? 0, mentions), ...rest };
}

/**
 * @param {any} value
 * @returns {MessageState | null}
 */
function asState(value) {
  if (asSeq(value?.change) === null) return null;
  const given = Array.isArray(value.reactions) ? value.reactions : [];
  const reactions = given.filter(
    (/** @type {any} */ each) => isText(each?.emoji) && asSeq(each.count) && Array.isArray(each.user_ids) && each.user_ids.every(isText),
  );
  return {
    change: value.change,
    ...(isMoment(value.edited_at) && { edited_at: value.edited_at }),
    ...(isMoment(value.deleted_at) && { deleted_at: value.deleted_at }),
    ...(value.pinned === true && { pinned: true }),
    ...(reactions.length > 0 && { reactions }),
  };
}
