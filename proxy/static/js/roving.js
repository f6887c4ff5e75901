/**
 * Moving through a list by keys, where one item at a time can be reached by Tab
 * ("roving tabindex", ARIA Authoring Practices). Pure.
 */

/** @type {Record<string, number>} */
const STEPS = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1 };

/**
 * @param {string} key of the keyboard
 * @param {number} index the item that has the focus; -1 for none
 * @param {number} count items
 * @param {{columns?: number, wraps?: boolean, across?: boolean}} [options] `columns` of a grid; `wraps`
 *   from the end to the start; `across`: the arrows to the sides move, too
 * @returns {number | null} the item to go to; null if the key does not move
 */
export function moved(key, index, count, { columns = 1, wraps = false, across = columns > 1 } = {}) {
  if (count === 0) return null;
  if (key === 'Home') return 0;
  if (key === 'End') return count - 1;
  const step = STEPS[key];
  if (step === undefined) return null;
  const sideways = key === 'ArrowLeft' || key === 'ArrowRight';
  if (sideways && !across) return null;
  if (index < 0) return step > 0 ? 0 : count - 1;
  const next = index + (sideways ? step : step * columns);
  if (wraps) return (next + count) % count;
  return next < 0 || next >= count ? index : next;
}
