/**
 * Data that outlives the page. For all tabs: who the user is, and the rooms, each
 * under a key of its own, so that tabs that save at the same moment do not overwrite
 * each other's. For this tab: who its user is, and the token. A tab opened as another user
 * keeps all of it to itself. Drafts are up to `drafts.js`, what is not sent to `unsent.js`.
 *
 * A browser without storage, or with other data under these keys, is no error: the page
 * starts anew.
 *
 * @typedef {import('./identity.js').Identity} Identity
 * @typedef {import('./saved.js').SavedRoom} SavedRoom
 * @typedef {import('./carrying.js').Saved} Saved
 */

import { Area, parse } from './area.js';
import { asIdentity, formerUser } from './identity.js';
import { asChoices } from './notices.js';
import { asRoom, asText, furthest } from './saved.js';

const SETTINGS = 'chat.settings';
const ROOM = 'chat.room.';
const NOTICES = 'chat.notices';
const IDENTITY = 'chat.identity';
const NAMES = 'chat.names';
/** Where earlier versions of the page kept the name of a tab. */
const NAME = 'chat.name';
const TOKEN = 'chat.token';
const APART = 'chat.apart';

export class Archive {
  #tab;
  #all;
  /** The stored state as this tab knows it: only differences are written. */
  #identity = '';
  #current = '';
  /** @type {Map<string, {room: SavedRoom, order: number}>} by the room's id */
  #rooms = new Map();

  /**
   * @param {object} [areas]
   * @param {() => Storage} [areas.tab]
   * @param {() => Storage} [areas.all]
   */
  constructor({ tab = () => sessionStorage, all = () => localStorage } = {}) {
    this.#tab = new Area(tab);
    this.#all = this.#tab.read(APART) === true ? this.#tab : new Area(all);
  }

  /** The storage of this tab. */
  get tab() {
    return this.#tab;
  }

  /** The storage that this tab shares with others. */
  get all() {
    return this.#all;
  }

  /** Keeps the name and the rooms of this tab apart from those of the others, from now on. */
  keepApart() {
    this.#tab.write(APART, true);
    this.#all = this.#tab;
  }

  /** @returns {Saved} */
  loadSettings() {
    const saved = this.#all.read(SETTINGS);
    this.#current = asText(saved?.current);
    this.#splitRooms(saved);
    for (const key of this.#all.keys(ROOM)) this.#remember(key, this.#all.read(key));
    const rooms = [...this.#rooms.values()].sort((a, b) => a.order - b.order);
    return { current: this.#current, rooms: rooms.map(({ room }) => room) };
  }

  /**
   * @returns {Identity | null} who this tab's user is; in a new tab, who was last one in another;
   *   null: nobody was
   */
  loadIdentity() {
    const shared = asIdentity(this.#all.read(IDENTITY)) ?? formerUser(this.#all.read(SETTINGS)?.name);
    const own = asIdentity(this.#tab.read(IDENTITY)) ?? formerUser(this.#tab.read(NAME));
    // The name may have been changed in another tab since.
    const found = own && own.id !== shared?.id ? own : shared;
    this.#identity = JSON.stringify(found);
    return found;
  }

  /** @param {Identity} identity */
  saveIdentity(identity) {
    const text = JSON.stringify(identity);
    this.#tab.write(IDENTITY, identity);
    if (text !== this.#identity) this.#all.write(IDENTITY, identity);
    this.#identity = text;
  }

  /** @returns {[string, string][]} ids and names of others, to be shown until they are asked for */
  loadNames() {
    const names = this.#all.read(NAMES);
    const isName = (/** @type {any} */ pair) => Array.isArray(pair) && pair.length === 2 && pair.every((text) => asText(text));
    return Array.isArray(names) ? names.filter(isName) : [];
  }

  /** @param {[string, string][]} names */
  saveNames(names) {
    this.#all.write(NAMES, names);
  }

  /**
   * Takes a change by another tab.
   *
   * @param {Pick<StorageEvent, 'key' | 'newValue' | 'storageArea'>} event
   * @returns {Identity | null} who its user is; null if it is about something else
   */
  heardIdentity({ key, newValue, storageArea }) {
    return key === IDENTITY && this.#all.is(storageArea) ? asIdentity(parse(newValue ?? '')) : null;
  }

  /**
   * Earlier versions of the page kept all rooms in one list.
   *
   * @param {any} saved the settings
   */
  #splitRooms(saved) {
    if (!Array.isArray(saved?.rooms)) return;
    for (const [order, value] of saved.rooms.entries()) {
      const room = asRoom(value);
      if (room && !this.#all.read(ROOM + room.id)) this.#all.write(ROOM + room.id, { ...room, order });
    }
    this.#all.write(SETTINGS, { name: asText(saved.name), current: asText(saved.current) });
  }

  /** @param {Saved} settings */
  saveSettings({ current, rooms }) {
    // A name that an earlier version of the page put there stays: it may come back.
    const name = asText(this.#all.read(SETTINGS)?.name);
    if (current !== this.#current) this.#all.write(SETTINGS, { ...(name && { name }), current });
    this.#current = current;
    for (const room of rooms) this.#saveRoom(room);
    const kept = new Set(rooms.map(({ id }) => id));
    for (const id of [...this.#rooms.keys()].filter((known) => !kept.has(known))) {
      this.#rooms.delete(id);
      this.#all.remove(ROOM + id);
    }
  }

  /** @param {SavedRoom} room */
  #saveRoom(room) {
    const known = this.#rooms.get(room.id);
    const { epoch, readSeq, title } = known?.room ?? {};
    if (known && epoch === room.epoch && readSeq === room.readSeq && title === room.title) return;
    const orders = [...this.#rooms.values()].map(({ order }) => order);
    const order = known?.order ?? Math.max(-1, ...orders) + 1;
    const stored = furthest(room, asRoom(this.#all.read(ROOM + room.id)));
    this.#all.write(ROOM + room.id, { ...stored, order });
    this.#rooms.set(room.id, { room, order });
  }

  /**
   * Takes a change by another tab.
   *
   * @param {Pick<StorageEvent, 'key' | 'newValue' | 'storageArea'>} event
   * @returns {{id: string, room: SavedRoom | null} | null} a room that it joined or read, or,
   *   with `room` null, left; null if it is about no room
   */
  heard({ key, newValue, storageArea }) {
    if (!key?.startsWith(ROOM) || !this.#all.is(storageArea)) return null;
    const id = key.slice(ROOM.length);
    if (newValue === null) {
      this.#rooms.delete(id);
      return { id, room: null };
    }
    const room = this.#remember(key, parse(newValue));
    return room && { id, room };
  }

  /**
   * @param {string} key
   * @param {any} value the value stored under it
   * @returns {SavedRoom | null} null if it is no room
   */
  #remember(key, value) {
    const room = asRoom(value);
    if (!room || ROOM + room.id !== key) return null;
    this.#rooms.set(room.id, { room, order: Number.isInteger(value.order) ? value.order : 0 });
    return room;
  }

  /** @returns {import('./notices.js').Choices} of what the user is told */
  loadChoices() {
    return asChoices(this.#all.read(NOTICES));
  }

  /** @param {import('./notices.js').Choices} choices */
  saveChoices(choices) {
    this.#all.write(NOTICES, choices);
  }

  /**
   * @param {Pick<StorageEvent, 'key' | 'storageArea'>} event
   * @returns {boolean} whether another tab changed them
   */
  hasNewChoices({ key, storageArea }) {
    return key === NOTICES && this.#all.is(storageArea);
  }

  /** @returns {string} empty for none */
  loadToken() {
    return asText(this.#tab.read(TOKEN));
  }

  /** @param {string} token empty for none */
  saveToken(token) {
    this.#tab.write(TOKEN, token);
  }
}
