/**
 * Finds web addresses in text. It only cuts the text into pieces: joined, they
 * give the text again.
 *
 * @typedef {object} Piece
 * @property {string} text
 * @property {string} href empty when the piece is plain text
 */

const ADDRESS = /(?<![\p{L}\p{N}@./-])(?:https?:\/\/|www\.(?=[^\s.]+\.[^\s.]))[^\s<>"\u0000-\u001f\u007f-\u009f]+/giu;
/** What may be the end of the sentence rather than of the address. */
const TAIL = ".,;:!?'*_~…”’»";
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
  const surplus = new Map([...CLOSERS].map(([closer, opener]) => [closer, count(address, closer) - count(address, opener)]));
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    const more = surplus.get(last) ?? 0;
    if (!TAIL.includes(last) && more <= 0) break;
    surplus.set(last, more - 1);
  }
  return address.slice(0, end);
}

/**
 * @param {string} text
 * @param {string} character
 */
function count(text, character) {
  return text.split(character).length - 1;
}

/**
 * @param {string} address
 * @returns {string} empty unless it is a http or https address
 */
function hrefOf(address) {
  try {
    const { href, protocol } = new URL(/^www\./i.test(address) ? `https://${address}` : address);
    return protocol === 'http:' || protocol === 'https:' ? href : '';
  } catch {
    return '';
  }
}
