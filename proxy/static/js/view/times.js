/** How moments are written. The page is in English; hours follow the reader's habit. */

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const moment = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'medium' });
const dayOfYear = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long' });
const dayOfAnyYear = new Intl.DateTimeFormat('en-GB', {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});

/** @param {Date} at */
export function timeOf(at) {
  return isNaN(at.getTime()) ? '' : clock.format(at);
}

/** @param {Date} at */
export function fullTimeOf(at) {
  return isNaN(at.getTime()) ? '' : moment.format(at);
}

/**
 * @param {Date} at
 * @param {Date} [now]
 */
export function dayName(at, now = new Date()) {
  if (isNaN(at.getTime())) return 'Undated';
  const days = Math.round((startOfDay(now) - startOfDay(at)) / 86_400_000);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return (at.getFullYear() === now.getFullYear() ? dayOfYear : dayOfAnyYear).format(at);
}

const dayOfWeek = new Intl.DateTimeFormat('en-GB', { weekday: 'long' });
const shortDay = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long' });

/**
 * Names a moment as briefly as it can be understood: the hour today, the day of this week and
 * the hour, or the date.
 *
 * @param {Date} at
 * @param {Date} [now]
 */
export function sinceWhen(at, now = new Date()) {
  if (isNaN(at.getTime())) return '';
  const days = Math.round((startOfDay(now) - startOfDay(at)) / 86_400_000);
  if (days === 0) return clock.format(at);
  if (days === 1) return `yesterday ${clock.format(at)}`;
  return days < 7 ? `${dayOfWeek.format(at)} ${clock.format(at)}` : shortDay.format(at);
}

/** @param {Date} at */
function startOfDay(at) {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}
