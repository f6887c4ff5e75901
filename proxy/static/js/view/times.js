/** How moments are written: in the page's language, as usual in the reader's region. */

import { locale, t } from '../texts.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const STYLES = {
  clock: { timeStyle: 'short' },
  moment: { dateStyle: 'full', timeStyle: 'medium' },
  weekday: { weekday: 'long' },
  shortDay: { day: 'numeric', month: 'long' },
  day: { weekday: 'long', day: 'numeric', month: 'long' },
  dayAndYear: { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' },
};

/** @type {Map<string, Intl.DateTimeFormat>} to make one takes longer than to use it a hundred times */
const formats = new Map();

/**
 * @param {string} style
 * @param {Date} at
 */
function write(style, at) {
  const key = `${style} ${locale()}`;
  const format = formats.get(key) ?? new Intl.DateTimeFormat(locale(), STYLES[style]);
  formats.set(key, format);
  return format.format(at);
}

/** @param {Date} at */
export function timeOf(at) {
  return isNaN(at.getTime()) ? '' : write('clock', at);
}

/** @param {Date} at */
export function fullTimeOf(at) {
  return isNaN(at.getTime()) ? '' : write('moment', at);
}

/**
 * @param {Date} at
 * @param {Date} [now]
 */
export function dayName(at, now = new Date()) {
  if (isNaN(at.getTime())) return t('time.undated');
  const days = daysBetween(at, now);
  if (days === 0) return t('time.today');
  if (days === 1) return t('time.yesterday');
  return capital(write(at.getFullYear() === now.getFullYear() ? 'day' : 'dayAndYear', at));
}

/**
 * Names a moment as briefly as it can be understood: the hour today, the day of this week and
 * the hour, or the date.
 *
 * @param {Date} at
 * @param {Date} [now]
 */
export function sinceWhen(at, now = new Date()) {
  if (isNaN(at.getTime())) return '';
  const days = daysBetween(at, now);
  const time = write('clock', at);
  if (days === 0) return time;
  if (days === 1) return t('time.since_yesterday', { time });
  return days < 7 ? `${write('weekday', at)} ${time}` : write('shortDay', at);
}

/**
 * Says how long ago something was: "5 min ago", "yesterday".
 *
 * @param {Date} at
 * @param {Date} [now]
 */
export function ago(at, now = new Date()) {
  const passed = now.getTime() - at.getTime();
  if (isNaN(passed)) return '';
  if (passed < MINUTE_MS) return t('time.now');
  const relative = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' });
  if (passed < HOUR_MS) return relative.format(-Math.floor(passed / MINUTE_MS), 'minute');
  const days = daysBetween(at, now);
  if (days === 0) return relative.format(-Math.floor(passed / HOUR_MS), 'hour');
  return days < 7 ? relative.format(-days, 'day') : write('shortDay', at);
}

/**
 * @param {Date} at
 * @param {Date} now
 */
function daysBetween(at, now) {
  return Math.round((startOfDay(now) - startOfDay(at)) / DAY_MS);
}

/** @param {Date} at */
function startOfDay(at) {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

/** @param {string} text as in "mardi 3 mars", which begins a line */
function capital(text) {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
