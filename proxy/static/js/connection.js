/**
 * One WebSocket after the other: opens, notices that it is dead, waits, opens
 * again. Knows nothing of the frames' content.
 *
 * @typedef {import('./store.js').Link} Link
 *
 * @typedef {object} Handlers
 * @property {() => void} onOpen
 * @property {(text: string) => void} onText
 * @property {(code: number) => void} onLost an open connection is no more
 * @property {(link: Link) => void} onLink
 */

import { Backoff } from './backoff.js';
import { ticks } from './clock.js';
import { afterClose } from './closes.js';

/** Time limit of an attempt to connect. */
export const CONNECT_MS = 10_000;
/** After a connection that lasted so long, the waits start from the shortest again. */
export const STABLE_MS = 5_000;
/** The bounds of the waits between tries: of the first, and of any. */
export const FIRST_MS = 500;
export const CAP_MS = 30_000;
/** The bound of the wait after the server announced a restart. */
export const SOON_MS = 1_000;

const ABNORMAL = 1006;

export class Connection {
  #url;
  #handlers;
  #openSocket;
  #offers;
  #random;
  #backoff;
  /** @type {WebSocket | null} */
  #socket = null;
  #isOpen = false;
  #tries = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} url
   * @param {Handlers} handlers
   * @param {object} [options]
   * @param {(url: string, offers: string[]) => WebSocket} [options.openSocket]
   * @param {() => string[]} [options.offers] gives the subprotocols of the next connection
   * @param {() => number} [options.random]
   */
  constructor(
    url,
    handlers,
    {
      openSocket = (to, offers) => new WebSocket(to, offers),
      offers = () => [],
      random = Math.random,
    } = {},
  ) {
    this.#url = url;
    this.#handlers = handlers;
    this.#openSocket = openSocket;
    this.#offers = offers;
    this.#random = random;
    this.#backoff = new Backoff({ base: FIRST_MS, cap: CAP_MS, random });
  }

  /** Opens a connection now, unless there is one or one is being made. */
  connect() {
    if (this.#socket) return;
    this.#wait(CONNECT_MS, () => this.drop());
    this.#tell({ phase: 'connecting' });
    this.#listen(this.#openSocket(this.#url, this.#offers()));
  }

  /** @param {WebSocket} socket */
  #listen(socket) {
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#handlers.onText(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #opened() {
    this.#isOpen = true;
    this.#wait(STABLE_MS, () => this.#proveStable());
    this.#tell({ phase: 'open' });
    this.#handlers.onOpen();
  }

  #proveStable() {
    this.#tries = 0;
    this.#backoff.reset();
  }

  /**
   * @param {string} text a frame
   * @returns {boolean} whether it went to an open connection
   */
  send(text) {
    if (!this.#isOpen) return false;
    this.#socket?.send(text);
    return true;
  }

  /** Opens a connection in place of the one there is, if there is one: with another token. */
  renew() {
    this.drop();
    this.connect();
  }

  /** Gives up a connection that does not answer, without waiting for its close frame. */
  drop() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#lost(ABNORMAL, '');
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const wasOpen = this.#isOpen;
    this.#socket = null;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    if (wasOpen) this.#handlers.onLost(code);
    this.#recover(code, reason || `code ${code}`);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #recover(code, reason) {
    const when = afterClose(code);
    if (when === 'never') {
      this.#tell({ phase: 'ended', reason, code });
      return;
    }
    this.#tries += 1;
    const first = when === 'soon' && this.#tries === 1;
    const delay = first ? this.#random() * SOON_MS : this.#backoff.next();
    this.#wait(delay, () => this.connect());
    this.#tell({ phase: 'waiting', retryAt: ticks() + delay });
  }

  /**
   * @param {number} ms
   * @param {() => void} then
   */
  #wait(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  /** @param {Partial<Link> & Pick<Link, 'phase'>} link */
  #tell(link) {
    this.#handlers.onLink({ tries: this.#tries, retryAt: 0, reason: '', code: 0, ...link });
  }
}
