/**
 * What is not confirmed yet, kept where neither a reload nor the end of a tab loses it.
 *
 * The rules:
 * - Each tab keeps its own in its own storage, and a copy under its own key in the storage of all.
 * - A tab holds a lock as long as it lives (Web Locks, which end with the page). When the lock of
 *   another tab is free, and still is REOPEN_MS later, that tab was closed and not loaded anew:
 *   this one takes over what it left. The lock that it holds meanwhile leaves that to one tab.
 * - The copy is replaced by a note that it was taken. A tab that comes back finds it and shows
 *   what was taken no longer.
 * - Without Web Locks (a page by plain http) and in a tab that is kept apart there are no copies.
 *
 * @typedef {import('./changes.js').PendingChange} PendingChange
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {{outbox: Pending[], changes: PendingChange[]}} Left
 */

import { Area } from './area.js';
import { asChange } from './changes.js';
import { newId } from './protocol.js';
import { asPending, asText } from './saved.js';

const OUTBOX = 'chat.outbox';
const CHANGES = 'chat.changes';
const TAB = 'chat.tab';
const COPY = 'chat.unsent.';
/** So long a page may take to be loaded anew. */
const REOPEN_MS = 5_000;
/** So long a note is kept for a tab that comes back. */
const NOTE_MS = 30 * 24 * 3_600_000;

export class Unsent {
  #tab;
  #all;
  #locks;
  #wait;
  #id = '';
  /** Tabs whose ends are waited for. */
  #watched = new Set();
  /** @type {(id: string) => Promise<void>} */
  #watch = async () => {};

  /**
   * @param {Area} tab
   * @param {Area} all the same as `tab` in a tab that is kept apart
   * @param {{locks?: Pick<LockManager, 'request'>, wait?: (ms: number) => Promise<void>}} [options]
   */
  constructor(tab, all, { locks = globalThis.navigator?.locks, wait = (ms) => new Promise((done) => setTimeout(done, ms)) } = {}) {
    this.#tab = tab;
    this.#all = all;
    this.#locks = tab === all ? undefined : locks;
    this.#wait = wait;
  }

  /** @returns {Left} */
  load() {
    return asLeft({ outbox: this.#tab.read(OUTBOX), changes: this.#tab.read(CHANGES) });
  }

  /**
   * @param {Pending[]} outbox
   * @param {PendingChange[]} changes
   */
  save(outbox, changes) {
    this.#tab.write(OUTBOX, outbox);
    this.#tab.write(CHANGES, changes);
    if (!this.#id) return;
    if (outbox.length + changes.length > 0) this.#all.write(COPY + this.#id, { outbox, changes });
    else if (this.#all.read(COPY + this.#id) !== null) this.#all.remove(COPY + this.#id);
  }

  /**
   * Holds this tab's lock, and from then on takes over what closed tabs left.
   *
   * @param {object} handlers
   * @param {(left: Left) => Left} handlers.onLeft takes what it returns, and has saved it
   * @param {() => void} handlers.onTaken what this tab loaded is no longer its own
   */
  async open({ onLeft, onTaken }) {
    const locks = this.#locks;
    if (!locks) return;
    this.#id = await this.#takeId(locks, onTaken);
    this.#tab.write(TAB, this.#id);
    const own = this.#all.read(COPY + this.#id);
    if (own?.taken) {
      this.#all.remove(COPY + this.#id);
      onTaken();
    }
    this.#watch = async (id) => {
      if (id === this.#id || this.#watched.has(id)) return;
      this.#watched.add(id);
      await locks.request(TAB + id, () => {});
      await this.#wait(REOPEN_MS);
      this.#watched.delete(id);
      await locks.request(TAB + id, { ifAvailable: true }, (lock) => {
        if (lock) this.#takeOver(COPY + id, onLeft);
        else void this.#watch(id);
      });
    };
    this.look();
  }

  /** Looks for what other tabs keep; call it again when the user is known. */
  look() {
    for (const key of this.#all.keys(COPY)) {
      const { taken } = this.#all.read(key) ?? {};
      if (Number.isFinite(taken) && Date.now() - taken > NOTE_MS) this.#all.remove(key);
      else if (taken === undefined) void this.#watch(key.slice(COPY.length));
    }
  }

  /**
   * Takes the news that another tab keeps something.
   *
   * @param {Pick<StorageEvent, 'key' | 'newValue'>} event
   */
  heard({ key, newValue }) {
    if (key?.startsWith(COPY) && newValue !== null) void this.#watch(key.slice(COPY.length));
  }

  /**
   * @param {Pick<LockManager, 'request'>} locks
   * @param {() => void} onTaken
   * @returns {Promise<string>} an id whose lock is held from now on
   */
  async #takeId(locks, onTaken) {
    const id = asText(this.#tab.read(TAB));
    if (id && (await hold(locks, TAB + id, REOPEN_MS / 2))) return id;
    // A copy of a tab that is still open: what it holds is the other one's.
    if (id) onTaken();
    const other = newId();
    await hold(locks, TAB + other, REOPEN_MS / 2);
    return other;
  }

  /**
   * @param {string} key
   * @param {(left: Left) => Left} onLeft
   */
  #takeOver(key, onLeft) {
    const left = asLeft(this.#all.read(key));
    const taken = onLeft(left);
    const rest = {
      outbox: left.outbox.filter((one) => !taken.outbox.includes(one)),
      changes: left.changes.filter((one) => !taken.changes.includes(one)),
    };
    if (rest.outbox.length + rest.changes.length > 0) this.#all.write(key, rest);
    else if (taken.outbox.length + taken.changes.length > 0) this.#all.write(key, { taken: Date.now() });
  }
}

/**
 * Holds a lock until the page ends.
 *
 * @param {Pick<LockManager, 'request'>} locks
 * @param {string} name
 * @param {number} patience milliseconds
 * @returns {Promise<boolean>} whether it is held
 */
function hold(locks, name, patience) {
  return new Promise((resolve) => {
    const forEver = () => {
      resolve(true);
      return new Promise(() => {});
    };
    locks.request(name, { signal: AbortSignal.timeout(patience) }, forEver).catch(() => resolve(false));
  });
}

/**
 * @param {any} value
 * @returns {Left}
 */
function asLeft(value) {
  const list = (/** @type {unknown} */ given) => (Array.isArray(given) ? given : []);
  return {
    outbox: list(value?.outbox).flatMap((one) => asPending(one) ?? []),
    changes: list(value?.changes).flatMap((one) => asChange(one) ?? []),
  };
}
