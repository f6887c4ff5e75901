/**
 * A text that is longer than a message may be: by how much, and cut into messages. Pure.
 */

import { CONTENT_BYTES } from './protocol.js';
import { tidy } from './rules.js';

/** A text of more messages is not offered to be sent: nobody would read them. */
export const MOST_PIECES = 10;
/** What belongs together as one character is shorter. */
const CLUSTER = 64;

const encoder = new TextEncoder();
const segmenter = new Intl.Segmenter();

/**
 * @param {string} text
 * @returns {number} how many characters are too many; 0: it is short enough
 */
export function excessOf(text) {
  const rest = text.slice(fitting(text));
  return rest.length - (rest.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}

/**
 * Cuts a text into as few messages as its lines and words allow.
 *
 * @param {string} text without half characters
 * @returns {string[]} in order; of a text of more than `MOST_PIECES` the first of them and one more
 */
export function piecesOf(text) {
  /** @type {string[]} */
  const pieces = [];
  let rest = tidy(text);
  while (rest !== '' && pieces.length <= MOST_PIECES) {
    const most = fitting(rest);
    const end = most < rest.length ? cutIn(rest, most) : most;
    const piece = tidy(rest.slice(0, end));
    if (piece !== '') pieces.push(piece);
    rest = tidy(rest.slice(end));
  }
  return pieces;
}

/**
 * @param {string} text
 * @returns {number} how much of it, from its beginning, a message takes
 */
function fitting(text) {
  // No character is less than a byte.
  return encoder.encodeInto(text.slice(0, CONTENT_BYTES), new Uint8Array(CONTENT_BYTES)).read;
}

/**
 * @param {string} text
 * @param {number} most
 * @returns {number} where to cut it, up to there
 */
function cutIn(text, most) {
  // What follows may be the blank that ends the last word.
  const head = text.slice(0, most + 1);
  // So much of a message may stay empty for a better place.
  const places = [
    { at: head.lastIndexOf('\n\n'), least: 0.5 },
    { at: head.lastIndexOf('\n'), least: 0.5 },
    { at: lastBlank(head), least: 0.25 },
  ];
  const place = places.find(({ at, least }) => at >= most * least);
  return place ? place.at : lastWhole(text, most);
}

/** @param {string} text */
function lastBlank(text) {
  let at = text.length - 1;
  while (at >= 0 && !/\s/.test(text[at])) at -= 1;
  return at;
}

/**
 * @param {string} text
 * @param {number} most
 * @returns {number} where the last character ends that is whole up to there
 */
function lastWhole(text, most) {
  const start = Math.max(0, most - CLUSTER);
  const segments = [...segmenter.segment(text.slice(start, most + CLUSTER))];
  const cut = segments.findLast(({ index }) => start + index <= most);
  return cut && start + cut.index > 0 && cut.index > 0 ? start + cut.index : most;
}
