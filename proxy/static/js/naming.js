/**
 * The part of the conversation that is about names: the server is told the user's own, and asked
 * for those of others that are shown.
 *
 * @typedef {import('./people.js').User} User
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./requests.js').Asked} Asked
 * @typedef {import('./store.js').Store} Store
 *
 * @callback Ask
 * @param {object} payload
 * @param {{kind: Asked['kind']}} about
 */

import { ticks } from './clock.js';
import { sentenceOf } from './errors.js';
import { request } from './payloads.js';
import { knowsNoField } from './protocol.js';

/** What is shown together is asked for together, at most once in this time. */
export const ASK_MS = 300;
/** How often it is looked whether names grew old. */
export const LOOK_MS = 10_000;

/** @type {Set<string>} */
const KINDS = new Set(['self', 'rename', 'names', 'users']);

export class Naming {
  #store;
  #ask;
  #used;
  #isOpen = false;
  /** The user whose name was compared with the server's on this connection. */
  #compared = '';
  /** The e-mail address that the server has beside the user's name, to be kept; null: not heard. */
  #email = /** @type {string | null} */ (null);
  /** The colour that the user chose; null: as the server has it. */
  #tone = /** @type {number | null} */ (null);
  #knowsEverybody = false;
  /** Whether the server gives the names of those that are named; one of before gives a page of all. */
  #picks = true;
  /** Whether it waits after a refusal. */
  #isResting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waiting;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;

  /**
   * @param {Store} store
   * @param {Ask} ask
   * @param {() => Iterable<string>} used whose names are in view
   */
  constructor(store, ask, used) {
    this.#store = store;
    this.#ask = ask;
    this.#used = used;
  }

  /** Takes a new connection. */
  opened() {
    this.#isOpen = true;
    this.#picks = true;
    // Whoever chooses a name is told who has it already.
    if (!this.#store.self) this.askEverybody();
    this.#isResting = false;
    this.#looking = setInterval(() => {
      this.#isResting = false;
      this.settle();
      this.askNames();
    }, LOOK_MS);
  }

  /** Takes the loss of the connection. */
  lost() {
    this.#isOpen = false;
    this.#compared = '';
    this.#email = null;
    this.#knowsEverybody = false;
    clearInterval(this.#looking);
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#store.people.forgetAsked();
  }

  /** Sees to it that the server knows the user's name, and the page the server's. */
  settle() {
    const { self } = this.#store;
    if (!this.#isOpen || this.#isResting || !self || this.#compared === self) return;
    this.#compared = self;
    this.#email = null;
    this.#ask(request.user(self), { kind: 'self' });
  }

  /** Tells the server the user's new name, now or as soon as there is a connection. */
  renamed() {
    if (this.#isOpen && this.#email !== null) this.#tell();
    else this.settle();
  }

  /**
   * Tells the server the colour that the user chose.
   *
   * @param {number} tone 0 for none
   */
  recoloured(tone) {
    this.#tone = tone;
    this.#store.people.setTone(this.#store.self, tone);
    this.renamed();
  }

  /** Asks for the names that are missing or old, a moment later. */
  askNames() {
    if (!this.#isOpen || this.#isResting || this.#waiting !== undefined) return;
    const { people } = this.#store;
    const used = [...this.#used()];
    const ids = people.due(used, ticks());
    if (ids.length === 0 && !people.expects(used)) return;
    this.#waiting = setTimeout(() => {
      this.#waiting = undefined;
      this.askNames();
    }, ASK_MS);
    if (ids.length > 0) this.#ask(request.users('', this.#picks ? ids : []), { kind: 'names' });
  }

  /** Asks once for everybody that the server knows. */
  askEverybody() {
    if (!this.#isOpen || this.#knowsEverybody) return;
    this.#knowsEverybody = true;
    this.#ask(request.users('', []), { kind: 'users' });
  }

  /**
   * @param {Asked | undefined} asked
   * @returns {boolean} whether an answer to it belongs here
   */
  isOwn(asked) {
    return asked !== undefined && KINDS.has(asked.kind);
  }

  /**
   * Takes an answer.
   *
   * @param {ServerFrame} frame
   * @param {Asked} asked
   */
  take(frame, asked) {
    if (frame.kind === 'user' && asked.kind === 'self') this.#compare(frame.body.user);
    else if (frame.kind === 'upserted_user') this.#store.confirmName(frame.body.user.name ?? '');
    else if (frame.kind === 'users') this.#store.learn(frame.body.users ?? [], asked.kind === 'names', ticks());
  }

  /**
   * Takes a refusal.
   *
   * @param {ErrorBody} error
   * @param {Asked} asked
   * @returns {string} why the user cannot have that name; empty for anything else
   */
  refused(error, asked) {
    this.#isResting = error.retryable;
    if (asked.kind === 'self' && error.code === 'NOT_FOUND') this.#compare(undefined);
    if (asked.kind === 'names') {
      this.#store.people.forgetAsked();
      // Whoever knows no names of some knows a page of all.
      if (knowsNoField(error)) this.#picks = false;
    }
    if (asked.kind === 'users') this.#knowsEverybody = false;
    if (error.retryable && asked.kind !== 'names') this.#compared = '';
    if (asked.kind !== 'rename' || error.retryable) return '';
    this.#store.takeNameBack();
    return sentenceOf(error);
  }

  /** @param {(User & {email?: string}) | undefined} user the user as the server knows it */
  #compare(user) {
    this.#email = user?.email ?? '';
    const { people, self } = this.#store;
    const wanted = this.#tone ?? user?.tone ?? 0;
    people.setTone(self, wanted);
    if (wanted !== (user?.tone ?? 0)) return this.#tell();
    const known = user?.name || this.#store.self;
    const isNamed = known !== this.#store.self;
    // Of one who is told by a token, the server alone knows the name.
    if (this.#store.isTold && (isNamed || !this.#store.isGuest)) this.#store.adoptName(known);
    else if (this.#store.name !== known) this.#tell();
    else this.#store.confirmName(known);
  }

  #tell() {
    const { self, name } = this.#store;
    const tone = this.#tone ?? this.#store.people.chosenTone(self);
    this.#ask(request.upsertUser(self, name, this.#email ?? '', tone), { kind: 'rename' });
  }
}
