/**
 * The names of users, as far as they are known: shown in place of their ids. Pure: whom to ask
 * for is told, not asked.
 *
 * The rules:
 * - Whoever has no name, or is not known yet, is shown by the id; a guest as such.
 * - Names prove nothing. Where two users have the same one, or have names that look the same, a sign
 *   is put behind each: the end of the id. One whose name is the id needs none, for no other has it.
 * - What is known grows old: it is asked for anew when it is used later.
 *
 * @typedef {{id: string, name?: string, tone?: number}} User as the server tells it
 * @typedef {{name: string, at: number, good: number}} Known at `at`, in milliseconds of `ticks()`, and good
 *   for so long
 */

import { t } from './texts.js';
import { toneOf } from './tone.js';

/** A name is good for so long: a new one is seen by others within a minute. */
export const FRESH_MS = 45_000;
/** That a guest has none is good for so long at first, and twice as long each time: one who has
 * just entered is about to tell it. */
export const NAMELESS_MS = 250;
/** So many ids are asked for together; the server takes as many. */
export const BATCH = 500;
/** So many names are remembered. */
export const MOST = 5_000;
/** And so many of them outlive the page. */
export const KEPT = 300;
/** Characters of an id that tell namesakes apart; more, where these are the same. */
const SIGN = 4;
const DOT = '·';
/** Nobody waits for a name that did not come for so long. */
const EXPECTED_MS = 5_000;

export class People {
  /** @type {Map<string, Known>} those heard of last come last */
  #known = new Map();
  /** @type {Map<string, Set<string>>} ids by what their names look like */
  #alike = new Map();
  /** @type {Map<string, number>} the colours of those who chose one */
  #tones = new Map();
  /** @type {Set<string>} ids that were shown without a name */
  #missing = new Set();
  /** @type {Set<string>} ids that were asked for and are not answered */
  #asked = new Set();
  /** Grows with each name that is new: what shows names shows them anew. */
  version = 0;

  /** @param {string} id */
  has(id) {
    return this.#known.has(id);
  }

  /**
   * @param {string} id
   * @returns {string} the name alone; the id if there is none
   */
  nameOf(id) {
    const known = this.#known.get(id);
    if (!known) this.#missing.add(id);
    const name = known?.name || id;
    return name === id && isGuest(id) ? t('people.guest') : name;
  }

  /**
   * @param {string} id
   * @returns {string} what tells the user from others of that name; empty where nothing is needed
   */
  signOf(id) {
    const name = this.nameOf(id);
    if (name === id) return '';
    const others = this.holders(name).filter((other) => other !== id);
    // Else a name could end in what looks like a sign.
    const isNamed = this.#known.has(id) && this.#known.get(id)?.name !== id;
    if (isNamed && others.length === 0 && !name.includes(DOT)) return '';
    let length = SIGN;
    while (length < id.length && others.some((other) => tail(other, length) === tail(id, length))) length += 1;
    return `${DOT}${tail(id, length)}`;
  }

  /**
   * @param {string} id
   * @returns {string} the name, and the sign where one is needed
   */
  shown(id) {
    const sign = this.signOf(id);
    return sign ? `${this.nameOf(id)} ${sign}` : this.nameOf(id);
  }

  /**
   * @param {string} id
   * @returns {number} the colour of the user, wherever it is shown
   */
  toneOf(id) {
    return toneOf(id, this.#tones.get(id));
  }

  /**
   * @param {string} id
   * @returns {number} the colour that the user chose, as the server knows it; 0 for none
   */
  chosenTone(id) {
    return this.#tones.get(id) ?? 0;
  }

  /**
   * Takes the colour that a user chose.
   *
   * @param {string} id
   * @param {number} tone 0 for none
   */
  setTone(id, tone) {
    if (this.chosenTone(id) === tone) return;
    if (tone) this.#tones.set(id, tone);
    else this.#tones.delete(id);
    this.version += 1;
  }

  /**
   * @param {string} name
   * @returns {string[]} ids of all who are known by it, or by one that looks the same
   */
  holders(name) {
    return [...(this.#alike.get(appearance(name)) ?? [])];
  }

  /** @returns {{id: string, name: string}[]} all who are known, as they are shown */
  everybody() {
    return [...this.#known.keys()].map((id) => ({ id, name: this.shown(id) }));
  }

  /** @returns {[string, string][]} ids and names that are to outlive the page: those heard of last */
  kept() {
    const named = [...this.#known].filter(([id, { name }]) => name !== id);
    return named.slice(-KEPT).map(([id, { name }]) => [id, name]);
  }

  /**
   * Takes what an earlier page kept: to be shown until the server is asked.
   *
   * @param {[string, string][]} names
   */
  recall(names) {
    this.learn(names.map(([id, name]) => ({ id, name })), -Infinity);
  }

  /**
   * Takes what the server says.
   *
   * @param {User[]} users
   * @param {number} now
   */
  learn(users, now) {
    for (const { id, name, tone } of users) {
      this.#note(id, name || id, now);
      // What this page itself notes has none.
      if (Number.isFinite(now)) this.setTone(id, tone ?? 0);
    }
    this.#bound();
  }

  /**
   * Takes the answer to what `due` gave: of the rest of them, nobody knows a name.
   *
   * @param {User[]} users
   * @param {number} now
   */
  answered(users, now) {
    for (const id of this.#asked) this.#note(id, this.#known.get(id)?.name ?? id, now);
    this.#asked.clear();
    this.learn(users, now);
  }

  /** Notes that what was asked for will not be answered. */
  forgetAsked() {
    this.#asked.clear();
  }

  /** @returns {boolean} whether an answer is awaited */
  get isAsking() {
    return this.#asked.size > 0;
  }

  /**
   * Chooses whom to ask for: those shown without a name, then those whose names are old.
   *
   * @param {Iterable<string>} used ids that are shown
   * @param {number} now
   * @returns {string[]} at most `BATCH`; none before the last ones were answered
   */
  due(used, now) {
    if (this.isAsking) return [];
    const wanted = new Set(this.#missing);
    for (const id of used) if (this.#isOld(id, now)) wanted.add(id);
    const chosen = [...wanted].filter((id) => id !== '').slice(0, BATCH);
    for (const id of chosen) this.#missing.delete(id);
    this.#asked = new Set(chosen);
    return chosen;
  }

  /**
   * @param {string} id
   * @param {number} now
   */
  #isOld(id, now) {
    const known = this.#known.get(id);
    return !known || now - known.at >= known.good;
  }

  /**
   * @param {Iterable<string>} used ids that are shown
   * @returns {boolean} whether a guest is among them whose name may come at any moment
   */
  expects(used) {
    for (const id of used) if ((this.#known.get(id)?.good ?? FRESH_MS) < EXPECTED_MS) return true;
    return false;
  }

  /**
   * @param {string} id
   * @param {string} name
   * @param {number} now
   */
  #note(id, name, now) {
    const former = this.#known.get(id);
    const before = former?.name;
    const isNameless = name === id && isGuest(id);
    const good = isNameless ? Math.min(FRESH_MS, before === id && former ? 2 * former.good : NAMELESS_MS) : FRESH_MS;
    this.#missing.delete(id);
    this.#known.delete(id);
    this.#known.set(id, { name, at: now, good });
    if (before === name) return;
    if (before !== undefined) this.#unlist(id, before);
    const key = appearance(name);
    const alike = this.#alike.get(key) ?? new Set();
    this.#alike.set(key, alike.add(id));
    // One who is shown by the id until now, and goes on to be, looks the same.
    if (before !== undefined || name !== id || alike.size > 1) this.version += 1;
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  #unlist(id, name) {
    const key = appearance(name);
    const alike = this.#alike.get(key);
    alike?.delete(id);
    if (alike?.size === 0) this.#alike.delete(key);
  }

  #bound() {
    for (const [id, { name }] of this.#known) {
      if (this.#known.size <= MOST) return;
      this.#known.delete(id);
      this.#tones.delete(id);
      this.#unlist(id, name);
    }
  }
}

/** @param {string} id */
export function isGuest(id) {
  return /^g-[a-z2-7]{20}$/.test(id);
}

/**
 * @param {string} name
 * @returns {string} the same for names that look the same: in case, blanks, width, and by characters
 *   that show nothing
 */
export function appearance(name) {
  const visible = name.normalize('NFKC').replace(/[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu, '');
  return visible.replace(/\s+/gu, ' ').trim().toLowerCase();
}

/**
 * @param {string} id
 * @param {number} length
 */
function tail(id, length) {
  return [...id].slice(-length).join('');
}
