/**
 * What outlives the page: it is read at the start, written while things change, and followed where
 * other tabs write it.
 *
 * @typedef {import('./archive.js').Archive} Archive
 * @typedef {import('./store.js').Store} Store
 *
 * @typedef {object} Outlets
 * @property {() => boolean} hasEnded whether the user is no longer who is kept
 * @property {() => void} onChange the store changed
 * @property {() => void} onRooms what the server is to be asked for changed, too
 * @property {(roomId: string) => void} onLeft another tab left a room
 * @property {() => void} onChoices another tab chose of what is told
 */

import { giveUp, restore, savedOf, takeOver } from './carrying.js';
import { lossOf } from './changing.js';
import { draftOf, Drafts } from './drafts.js';
import { Kept } from './kept.js';
import { Unsent } from './unsent.js';

/** Delay of saving: read positions change with every message. */
const SAVE_MS = 300;
/** What is read is kept for a page without a connection no more often. */
const KEEP_MS = 5_000;

export class Keeping {
  #store;
  #archive;
  #out;
  #drafts;
  #unsent;
  #kept;
  /** What the page found of its own. */
  #left;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saving;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #keeping;

  /**
   * @param {Store} store
   * @param {Archive} archive which knows whether this tab is kept apart
   * @param {Outlets} outlets
   */
  constructor(store, archive, outlets) {
    this.#store = store;
    this.#archive = archive;
    this.#out = outlets;
    this.#drafts = new Drafts(archive.all);
    this.#unsent = new Unsent(archive.tab, archive.all);
    this.#kept = new Kept(() => (store.signedIn ? archive.tab : archive.all));
    this.#left = this.#unsent.load();
  }

  /** @returns {import('./carrying.js').Saved} what an earlier page saved, which the store has from now on */
  restore() {
    this.#store.people.recall(this.#archive.loadNames());
    const saved = this.#archive.loadSettings();
    restore(this.#store, saved, this.#left.outbox, this.#left.changes);
    return saved;
  }

  /** From now on takes over what closed tabs left. */
  async watch() {
    const onTaken = () => giveUp(this.#store, this.#left);
    await this.#unsent.open({ onLeft: (left) => this.#takeOver(left), onTaken });
    this.#out.onChange();
  }

  /** Looks again for what closed tabs left: the user is known. */
  look() {
    this.#unsent.look();
  }

  /** @param {import('./unsent.js').Left} left by a closed tab */
  #takeOver(left) {
    const taken = takeOver(this.#store, left);
    this.#saveUnsent();
    this.#out.onRooms();
    return taken;
  }

  #saveUnsent() {
    this.#unsent.save(this.#store.outbox(), this.#store.changes());
  }

  /** Gives rooms that are new what was begun in them. */
  fill() {
    this.#drafts.restore(this.#store.rooms.values(), this.#reader);
  }

  /** Shows what was read last, unless it is somebody else's by now. */
  recall() {
    if (!this.#out.hasEnded()) this.#kept.recall(this.#store);
  }

  /** Removes what was read. */
  forget() {
    this.#kept.forget();
  }

  /** Keeps soon what was typed. */
  soon() {
    this.#saving ??= setTimeout(() => this.#save(), SAVE_MS);
  }

  /** Keeps everything that may have changed: at once what nobody else has, the rest soon. */
  follow() {
    this.#saveUnsent();
    this.soon();
    this.#keeping ??= setTimeout(() => this.#keep(), KEEP_MS);
  }

  /** Keeps all: the page may not be there any more when it was to be. */
  now() {
    this.#save();
    this.#keep();
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    const { self, isGuest, identity, people, rooms } = this.#store;
    if (self) this.#archive.saveSettings(savedOf(this.#store));
    if (isGuest) this.#archive.saveIdentity(identity);
    this.#archive.saveNames(people.kept());
    this.#drafts.save(rooms.values(), this.#reader);
  }

  #keep() {
    clearTimeout(this.#keeping);
    this.#keeping = undefined;
    if (this.#out.hasEnded()) this.#kept.forget();
    else this.#kept.save(this.#store, Date.now());
  }

  /** Whose drafts are kept: with tokens, several people may use this browser. */
  get #reader() {
    return this.#store.signedIn ? this.#store.self : '';
  }

  /**
   * Follows what another tab keeps.
   *
   * @param {StorageEvent} event
   */
  heard(event) {
    const { rooms, currentId, self, isGuest } = this.#store;
    this.#unsent.heard(event);
    if (this.#drafts.heard(event, rooms, { current: currentId, user: this.#reader })) this.#out.onChange();
    const identity = this.#archive.heardIdentity(event);
    if (identity && identity.id === self && isGuest) {
      this.#store.adoptName(identity.name);
      this.#store.isTold = identity.told;
    }
    if (this.#archive.hasNewChoices(event)) this.#out.onChoices();
    const said = this.#archive.heard(event);
    if (!said) return this.#out.onChange();
    const here = rooms.get(said.id);
    if (said.room) this.#store.adopt(said.room);
    // A draft, an unsent message or an unsaved change is not discarded by another tab.
    else if (here && !lossOf(here) && !(said.id === currentId && draftOf(here))) this.#out.onLeft(said.id);
    this.#out.onRooms();
  }
}
