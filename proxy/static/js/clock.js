/**
 * The clock for durations: milliseconds that only go forward. `Date.now()` is for
 * moments that are shown or stored; people and time servers set it, back as well.
 *
 * @returns {number} milliseconds, from an arbitrary start (W3C High Resolution Time, 7)
 */
export function ticks() {
  return performance.now();
}
