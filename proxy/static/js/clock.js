/**
 * The clock for durations: milliseconds that only go forward. `Date.now()` is for
 * moments that are shown or stored; users and time servers set it, also backwards.
 *
 * @returns {number} milliseconds, from an arbitrary start (W3C High Resolution Time, 7)
 */
export function ticks() {
  return performance.now();
}
