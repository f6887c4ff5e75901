/**
 * Who the user is: by a token, or a guest whom this browser remembers.
 *
 * @typedef {import('./archive.js').Archive} Archive
 * @typedef {import('./store.js').Store} Store
 */

import { TOKEN_EXPIRED } from './closes.js';
import { newGuest } from './identity.js';
import { hashOf, nameInQuery } from './location.js';
import { nameProblem } from './rules.js';
import { t } from './texts.js';
import { hasEnded, moderates, offersOf, subjectOf, tokenInHash, tokenProblem } from './token.js';

export class Session {
  #store;
  #archive;
  #onGone;
  #token = '';

  /**
   * @param {Store} store
   * @param {Archive} archive
   * @param {() => void} onGone a token is given up, and what it showed
   */
  constructor(store, archive, onGone) {
    this.#store = store;
    this.#archive = archive;
    this.#onGone = onGone;
  }

  /** What a connection offers to the server: the token, if there is one. */
  get offers() {
    return offersOf(this.#token);
  }

  /** Whether there is a token, whose time is over. */
  get hasEnded() {
    return hasEnded(this.#token, Date.now());
  }

  /**
   * Finds the guest whom the browser remembers. A tab opened by `?as=NAME` has one of its own.
   *
   * @returns {import('./identity.js').Identity | null} null if a name is to be asked for
   */
  find() {
    const name = nameInQuery(location.search);
    if (name !== null) {
      this.#archive.keepApart();
      history.replaceState(null, '', location.pathname + location.hash);
    }
    const identity = name ? newGuest(name) : this.#archive.loadIdentity();
    const isFit = identity && !nameProblem(identity.id, 'name') && !nameProblem(identity.name, 'name');
    return isFit ? identity : null;
  }

  /**
   * Enters as a guest.
   *
   * @param {string} name
   */
  enter(name) {
    // Another tab may have entered since this page was opened.
    this.#store.become(this.#archive.loadIdentity() ?? newGuest(name), true);
  }

  /** @param {string} given the token from now on; empty for none */
  use(given) {
    if (this.#token && given !== this.#token) this.#onGone();
    this.#token = given;
    this.#archive.saveToken(given);
    this.#store.signedIn = given !== '';
    this.#store.moderates = moderates(given);
    const id = subjectOf(given);
    // By which name, the server knows.
    if (given && id !== this.#store.self) this.#store.become({ id, name: this.#store.people.nameOf(id), told: true }, false);
  }

  /** Goes on with the token of the address, or else with the one that is kept. */
  resume() {
    if (!this.takeToken()) this.use(this.#archive.loadToken());
  }

  /**
   * Gives up the token that the server refused.
   *
   * @returns {string | undefined} why another one is asked for; nothing if there was none
   */
  refused() {
    const refused = this.#token ? t('entry.refused') : undefined;
    this.use('');
    return this.#store.link.code === TOKEN_EXPIRED ? t('entry.expired') : refused;
  }

  /**
   * Takes a token out of the address, where it must not stay.
   *
   * @returns {boolean} whether there was one that can be used
   */
  takeToken() {
    const found = tokenInHash(location.hash);
    if (!found) return false;
    const address = found.room ? hashOf(found.room) : location.pathname + location.search;
    history.replaceState(null, '', address);
    if (tokenProblem(found.token)) return false;
    this.use(found.token);
    return true;
  }
}
