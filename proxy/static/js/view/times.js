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

/** @param {Date} at */
function startOfDay(at) {
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}
