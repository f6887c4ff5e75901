/**
 * Problems of the connection, and possible actions. Its text is a live
 * region; the seconds until the next try are not part of it.
 *
 * @typedef {import('../store.js').Link} Link
 * @typedef {import('../store.js').Store} Store
 */

import { ticks } from '../clock.js';
import { BAD_TOKEN, TOKEN_EXPIRED, wantsToken } from '../protocol.js';
import { byId, setText } from './dom.js';
import { timeOf } from './times.js';

/** A shorter wait is over before it is read. */
const SHORT_MS = 1_500;

export class BannerView {
  #banner = byId('banner', HTMLElement);
  #text = byId('banner-text', HTMLElement);
  #wait = byId('banner-wait', HTMLElement);
  #button = byId('reconnect', HTMLButtonElement);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  #retryAt = 0;

  /** @param {() => void} onReconnect */
  constructor(onReconnect) {
    this.#button.addEventListener('click', onReconnect);
  }

  /** @param {Store} store */
  render({ link, trouble, current, lostAt }) {
    const asOf = lostAt && current?.loaded ? ` Shown as of ${timeOf(new Date(lostAt))}.` : '';
    const text = textOf(link, trouble, asOf);
    setText(this.#text, text);
    this.#banner.hidden = text === '';
    const ended = link.phase === 'ended';
    this.#banner.dataset.kind = ended ? 'error' : 'notice';
    const waits = link.phase === 'waiting' && this.#isWorthCounting(link.retryAt);
    this.#button.hidden = !ended && !waits;
    setText(this.#button, buttonOf(link));
    this.#count(waits ? link.retryAt : 0);
  }

  /**
   * A wait that was counted down once is counted down to its end.
   *
   * @param {number} retryAt
   */
  #isWorthCounting(retryAt) {
    return retryAt === this.#retryAt || retryAt - ticks() > SHORT_MS;
  }

  /** @param {number} retryAt milliseconds of `ticks()`; 0 for none */
  #count(retryAt) {
    if (retryAt === this.#retryAt) return;
    this.#retryAt = retryAt;
    clearInterval(this.#ticking);
    if (retryAt) this.#ticking = setInterval(() => this.#tick(), 1_000);
    this.#tick();
  }

  #tick() {
    const seconds = Math.max(1, Math.ceil((this.#retryAt - ticks()) / 1_000));
    setText(this.#wait, this.#retryAt ? `Next try in ${seconds} s.` : '');
  }
}

/** @param {Link} link */
function buttonOf({ phase, code }) {
  if (phase !== 'ended') return 'Reconnect now';
  return wantsToken(code) ? 'Sign in' : 'Connect again';
}

/**
 * @param {Link} link
 * @param {string} trouble
 * @param {string} asOf how old the messages are that are shown
 * @returns {string} empty when all is well
 */
function textOf({ phase, tries, reason, code }, trouble, asOf) {
  if (phase === 'open') return trouble;
  if (code === TOKEN_EXPIRED) return `Your session has expired. What you send is kept.${asOf}`;
  if (code === BAD_TOKEN) return `You are not signed in. What you send is kept.${asOf}`;
  if (phase === 'ended') return `The server ended this connection: ${reason}.${asOf}`;
  if (tries === 0) return '';
  const what = navigator.onLine ? 'Connection lost.' : 'You are offline.';
  return `${what} Reconnecting… What you send is kept.${asOf}`;
}
