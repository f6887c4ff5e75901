/**
 * Finds web addresses in text. It only cuts the text into pieces: joined, they
 * give the text again.
 *
 * @typedef {object} Piece
 * @property {string} text
 * @property {string} href empty when the piece is plain text
 */

const ADDRESS = /\bhttps?:\/\/[^\s<>"\u0000-\u001f\u007f-\u009f]+/giu;
const CLOSERS = new Map([
  [')', '('],
  [']', '['],
  ['}', '{'],
]);

/**
 * @param {string} text
 * @returns {Piece[]}
 */
export function splitLinks(text) {
  /** @type {Piece[]} */
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutTail(match[0]);
    const href = hrefOf(address);
    if (!href) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index), href: '' });
    pieces.push({ text: address, href });
    end = match.index + address.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end), href: '' });
  return pieces;
}

/**
 * Cuts off trailing text of the sentence: punctuation, and a bracket that was opened
 * before the address.
 *
 * @param {string} address
 */
function withoutTail(address) {
  let end = address.length;
  while (end > 0 && isTail(address, end)) end -= 1;
  return address.slice(0, end);
}

/**
 * @param {string} address
 * @param {number} end
 */
function isTail(address, end) {
  const last = address[end - 1];
  if (".,;:!?'*_~…”’»".includes(last)) return true;
  const opener = CLOSERS.get(last);
  return opener !== undefined && count(address, last, end) > count(address, opener, end);
}

/**
 * @param {string} text
 * @param {string} character
 * @param {number} end
 */
function count(text, character, end) {
  return text.slice(0, end).split(character).length - 1;
}

/**
 * @param {string} address
 * @returns {string} empty unless it is a http or https address
 */
function hrefOf(address) {
  try {
    const { href, protocol } = new URL(address);
    return protocol === 'http:' || protocol === 'https:' ? href : '';
  } catch {
    return '';
  }
}
