/**
 * Problems of the connection, and possible actions. Its text is a live
 * region; the seconds until the next try are not part of it.
 *
 * @typedef {import('../store.js').Link} Link
 * @typedef {import('../store.js').Store} Store
 */

import { ticks } from '../clock.js';
import { BAD_TOKEN, TOKEN_EXPIRED, wantsToken } from '../closes.js';
import { t } from '../texts.js';
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
    const asOf = lostAt && current?.loaded ? t('banner.as_of', { time: timeOf(new Date(lostAt)) }) : '';
    const loss = link.phase === 'open' ? '' : lossOf(link);
    const text = link.phase === 'open' ? trouble : [loss, loss && asOf].filter(Boolean).join(' ');
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
    setText(this.#wait, this.#retryAt ? t('banner.next_try', { seconds }) : '');
  }
}

/** @param {Link} link */
function buttonOf({ phase, code }) {
  if (phase !== 'ended') return t('banner.reconnect');
  return wantsToken(code) ? t('banner.sign_in') : t('banner.connect');
}

/**
 * @param {Link} link
 * @returns {string} empty while it is opened for the first time
 */
function lossOf({ phase, tries, reason, code }) {
  if (code === TOKEN_EXPIRED) return t('banner.expired');
  if (code === BAD_TOKEN) return t('banner.no_token');
  if (phase === 'ended') return t('banner.ended', { reason });
  if (tries === 0) return '';
  return navigator.onLine ? t('banner.lost') : t('banner.offline');
}
