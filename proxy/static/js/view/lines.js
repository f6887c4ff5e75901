/**
 * The elements of the lines of a room. What looks as before is not touched.
 *
 * @typedef {import('../timeline.js').Line} Line
 */

import { arrange } from './dom.js';
import { createLine, updateLine } from './message.js';

export class LinesView {
  #list;
  /** The names and the day that are shown. */
  #names = '';
  /** @type {Map<string, Line>} what the elements show */
  #shown = new Map();
  /** @type {Map<string, HTMLElement>} by the keys of their lines */
  elements = new Map();
  /** @type {HTMLElement[]} of the stored messages, in order */
  stored = [];

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  /** Begins with another room. */
  clear() {
    this.elements.clear();
    this.refresh();
    this.stored = [];
  }

  /** Lets all lines be shown anew. */
  refresh() {
    this.#shown.clear();
  }

  /**
   * @param {Line[]} lines
   * @param {import('../people.js').People} people
   * @returns {Line[] | null} those that are not shown as they are; null: all is as before
   */
  staleOf(lines, people) {
    const names = `${people.version} ${new Date().toDateString()}`;
    if (names !== this.#names) this.refresh();
    this.#names = names;
    const stale = lines.filter((line) => !isSame(this.#shown.get(line.key), line));
    return stale.length === 0 && lines.length === this.#shown.size ? null : stale;
  }

  /**
   * @param {Line[]} lines
   * @param {Line[]} stale
   * @param {import('../people.js').People} people
   */
  fill(lines, stale, people) {
    const elements = new Map(
      lines.map((line) => [line.key, this.elements.get(line.key) ?? createLine(line)]),
    );
    for (const line of stale) updateLine(/** @type {HTMLElement} */ (elements.get(line.key)), line, people);
    arrange(this.#list, [...elements.values()]);
    this.elements = elements;
    this.#shown = new Map(lines.map((line) => [line.key, line]));
    this.stored = [...elements.values()].filter((element) => element.dataset.seq);
  }
}

/**
 * @param {Line | undefined} before
 * @param {Line} line
 * @returns {boolean} whether it looks as before, as most do
 */
function isSame(before, line) {
  if (before?.kind !== 'message' || line.kind !== 'message') return before !== undefined;
  const fields = /** @type {const} */ (['message', 'state', 'opens', 'own', 'mentioned']);
  if (fields.some((field) => before[field] !== line[field])) return false;
  // The others are nothing but their text.
  if (!(before.look || before.quote || line.look || line.quote)) return true;
  return JSON.stringify([before.look, before.quote]) === JSON.stringify([line.look, line.quote]);
}
