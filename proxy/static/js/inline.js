/**
 * Markers inside a line of text: code, addresses, emphasis. The rules are those of `markup.js`. Pure.
 *
 * @typedef {import('./markup.js').Inline} Inline
 * @typedef {import('./markup.js').Plain} Plain
 *
 * @typedef {{marker: string, kind: 'bold' | 'italic', opens: boolean, closes: boolean}} Marker
 */

import { splitLinks } from './links.js';

/** Letters of scripts that put blanks between words, and digits. */
const WORD = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N}]/u;
const BLANK = /\s/;
/** No emphasis reaches over a blank line. */
const PAUSE = /\n[^\S\n]*\n/;
/** What a marker finds beside it where code or an address begins: neither a blank nor a word. */
const OTHER = '`';

/**
 * @param {string} text
 * @returns {Inline[]}
 */
export function inlineOf(text) {
  const pieces = withCode(text).flatMap(
    /** @returns {(Plain | import('./markup.js').Code | import('./markup.js').Link)[]} */
    (piece) => (piece.kind === 'text' ? withLinks(piece.text) : [piece]),
  );
  const last = pieces.length - 1;
  const marked = pieces.flatMap(
    /** @returns {(Inline | Marker)[]} */
    (piece, nth) => (piece.kind === 'text' ? withMarkers(piece.text, nth > 0 ? OTHER : ' ', nth < last ? OTHER : ' ') : [piece]),
  );
  return joined(pair(marked));
}

/**
 * @param {string} text
 * @returns {(Plain | import('./markup.js').Link)[]}
 */
function withLinks(text) {
  return splitLinks(text).map(({ text: part, href }) =>
    href ? { kind: /** @type {const} */ ('link'), text: part, href } : { kind: /** @type {const} */ ('text'), text: part },
  );
}

/**
 * Cuts out what stands between two equal runs of backticks in one line.
 *
 * @param {string} text
 * @returns {(Plain | import('./markup.js').Code)[]}
 */
function withCode(text) {
  const runs = [...text.matchAll(/`+|\n/g)];
  const partners = partnersOf(runs);
  /** @type {(Plain | import('./markup.js').Code)[]} */
  const pieces = [];
  let end = 0;
  for (let nth = 0; nth < runs.length; nth += 1) {
    const partner = partners[nth];
    if (partner < 0) continue;
    const start = runs[nth].index;
    const inside = text.slice(start + runs[nth][0].length, runs[partner].index);
    if (inside.trim() === '') continue;
    pieces.push({ kind: 'text', text: text.slice(end, start) });
    // A blank at each end lets code begin with a backtick.
    const isPadded = inside.startsWith(' ') && inside.endsWith(' ');
    pieces.push({ kind: 'code', text: isPadded ? inside.slice(1, -1) : inside });
    end = runs[partner].index + runs[partner][0].length;
    nth = partner;
  }
  pieces.push({ kind: 'text', text: text.slice(end) });
  return pieces;
}

/**
 * @param {RegExpExecArray[]} runs of backticks, and line breaks
 * @returns {number[]} for each run the next equal one in its line; -1: there is none
 */
function partnersOf(runs) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  const partners = new Array(runs.length).fill(-1);
  for (let nth = runs.length - 1; nth >= 0; nth -= 1) {
    const [run] = runs[nth];
    if (run === '\n') {
      seen.clear();
      continue;
    }
    partners[nth] = seen.get(run) ?? -1;
    seen.set(run, nth);
  }
  return partners;
}

/**
 * @param {string} text
 * @param {string} before the character before it
 * @param {string} behind
 * @returns {(Plain | Marker)[]}
 */
function withMarkers(text, before, behind) {
  /** @type {(Plain | Marker)[]} */
  const pieces = [];
  let end = 0;
  for (const { 0: marker, index } of text.matchAll(/\*\*|_/g)) {
    const after = index + marker.length;
    const left = [...text.slice(Math.max(0, index - 2), index)].at(-1) ?? before;
    const right = [...text.slice(after, after + 2)][0] ?? behind;
    const [opens, closes] = [isEdge(left, right, marker[0]), isEdge(right, left, marker[0])];
    if (!opens && !closes) continue;
    pieces.push({ kind: 'text', text: text.slice(end, index) });
    pieces.push({ marker, kind: marker === '_' ? 'italic' : 'bold', opens, closes });
    end = after;
  }
  pieces.push({ kind: 'text', text: text.slice(end) });
  return pieces;
}

/**
 * @param {string} outside the character at one side of a marker
 * @param {string} inside the one at the other
 * @param {string} sign that the marker is made of
 * @returns {boolean} whether what is marked may begin or end there
 */
function isEdge(outside, inside, sign) {
  if (outside === sign || inside === sign || outside === '\\') return false;
  return !WORD.test(outside) && !BLANK.test(inside);
}

/**
 * Puts what is between two markers into one.
 *
 * @param {(Inline | Marker)[]} pieces
 * @returns {Inline[]}
 */
function pair(pieces) {
  /** @type {Inline[]} */
  const done = [];
  /** @type {Map<string, number>} where each kind was opened, as an index of `done` */
  const open = new Map();
  for (const piece of pieces) {
    if (!('marker' in piece)) {
      if (piece.kind === 'text' && PAUSE.test(piece.text)) open.clear();
      done.push(piece);
      continue;
    }
    const { marker, kind, opens, closes } = piece;
    const start = open.get(kind);
    if (closes && start !== undefined) {
      const inner = joined(done.splice(start).slice(1));
      done.push({ kind, inner });
      for (const [other, at] of open) if (at >= start) open.delete(other);
    } else {
      if (opens) open.set(kind, done.length);
      done.push({ kind: 'text', text: marker });
    }
  }
  return done;
}

/**
 * @param {Inline[]} pieces
 * @returns {Inline[]} without empty texts, and with neighbours as one
 */
function joined(pieces) {
  /** @type {Inline[]} */
  const whole = [];
  for (const piece of pieces) {
    const last = whole.at(-1);
    if (piece.kind === 'text' && piece.text === '') continue;
    if (piece.kind === 'text' && last?.kind === 'text') last.text += piece.text;
    else whole.push(piece.kind === 'text' ? { ...piece } : piece);
  }
  return whole;
}
