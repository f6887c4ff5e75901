/**
 * What people write in a message beside words: emphasis, code, quotes and lists. A text becomes a
 * tree; a marker without its partner stays a part of the text. Pure, in time linear in the length.
 *
 * The rules:
 * - Blocks are of whole lines: a fence of three backticks, lines that begin with "> ", and with "- ",
 *   "* " or "1. ". All else is text, its line breaks and blanks as they were.
 * - In a line, code between backticks is found first, then addresses, then `**bold**` and `_italic_`:
 *   in code and in addresses nothing is a marker.
 * - A marker stands at the edge of a word: names such as `snake_case` are none.
 * - A list is of bullets or of numbers, which are kept: where one ends another begins.
 * - Quotes are at most `DEPTH` deep, emphasis two: deeper, markers are text.
 *
 * @typedef {{kind: 'text', text: string}} Plain
 * @typedef {{kind: 'code', text: string}} Code
 * @typedef {{kind: 'link', text: string, href: string}} Link
 * @typedef {{kind: 'bold' | 'italic', inner: Inline[]}} Emphasis
 * @typedef {Plain | Code | Link | Emphasis} Inline
 *
 * @typedef {{kind: 'words', inner: Inline[]}} Words
 * @typedef {{kind: 'fence', language: string, text: string}} Fence
 * @typedef {{kind: 'quote', blocks: Block[]}} Quote
 * @typedef {{number: number, level: number, inner: Inline[]}} Item `number` 0: it has none
 * @typedef {{kind: 'list', items: Item[]}} List
 * @typedef {Words | Fence | Quote | List} Block
 */

import { inlineOf } from './inline.js';

/** So deep are quotes of quotes. */
export const DEPTH = 3;
/** So deep are lists in lists. */
const LEVELS = 3;

const FENCE = /^```([^`]*)$/;
const FENCE_END = /^(.*?)```\s*$/;
const LANGUAGE = /^[\w+#.-]{0,20}\s*$/;
const QUOTED = /^>(?: (.*))?$/;
const ITEM = /^( *)(?:[-*•]|(\d{1,3})\.) +(\S.*)$/;
/** A text without any of these is words and nothing else. */
const MARKED = /[*_`>]|^ *(?:[-•]|\d{1,3}\.) |https?:|www\./im;

/**
 * @param {string} text
 * @returns {Block[]}
 */
export function parse(text) {
  if (!MARKED.test(text)) return [{ kind: 'words', inner: [{ kind: 'text', text }] }];
  return blocksOf(text.split('\n'), 0);
}

/**
 * Whether a text looks otherwise than it was written.
 *
 * @param {string} text
 */
export function isMarked(text) {
  return MARKED.test(text) && plainText(text) !== text;
}

/**
 * Gives a text as it is read out, or shown where there is one line for it: without its markers.
 *
 * @param {string} text
 * @returns {string}
 */
export function plainText(text) {
  return MARKED.test(text) ? parse(text).map(plainOf).join('\n') : text;
}

/**
 * @param {Block} block
 * @returns {string}
 */
function plainOf(block) {
  switch (block.kind) {
    case 'words':
      return plainInline(block.inner);
    case 'fence':
      return block.text;
    case 'quote':
      return block.blocks.map(plainOf).join('\n');
    default:
      return block.items.map(({ number, inner }) => `${number ? `${number}. ` : ''}${plainInline(inner)}`).join('\n');
  }
}

/**
 * @param {Inline[]} inner
 * @returns {string}
 */
function plainInline(inner) {
  return inner.map((piece) => ('inner' in piece ? plainInline(piece.inner) : piece.text)).join('');
}

/**
 * @param {string[]} lines
 * @param {number} depth of the quote they are in
 * @returns {Block[]}
 */
function blocksOf(lines, depth) {
  const ends = fenceEnds(lines);
  /** @type {Block[]} */
  const blocks = [];
  /** @type {string[]} */
  let words = [];
  const flush = () => {
    const text = blocks.length > 0 ? withoutBlankEnds(words) : withoutBlankEnd(words);
    if (text.length > 0) blocks.push({ kind: 'words', inner: inlineOf(text.join('\n')) });
    words = [];
  };
  let at = 0;
  while (at < lines.length) {
    const found = fenceAt(lines, at, ends) ?? (depth < DEPTH ? quoteAt(lines, at, depth) : null) ?? listAt(lines, at);
    if (found) {
      flush();
      blocks.push(found.block);
      at = found.end;
    } else {
      words.push(lines[at]);
      at += 1;
    }
  }
  if (blocks.length === 0) return [{ kind: 'words', inner: inlineOf(words.join('\n')) }];
  flush();
  return blocks;
}

/**
 * @param {string[]} lines
 * @returns {number[]} for each line, the next one at or behind it that ends a fence; Infinity for none
 */
function fenceEnds(lines) {
  const ends = new Array(lines.length + 1).fill(Infinity);
  for (let at = lines.length - 1; at >= 0; at -= 1) ends[at] = FENCE_END.test(lines[at]) ? at : ends[at + 1];
  return ends;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number[]} ends
 * @returns {{block: Fence, end: number} | null}
 */
function fenceAt(lines, at, ends) {
  const opened = FENCE.exec(lines[at]);
  const end = ends[at + 1];
  if (!opened || end === Infinity) return null;
  const isLanguage = LANGUAGE.test(opened[1]);
  const last = FENCE_END.exec(lines[end])?.[1] ?? '';
  const inside = [...(isLanguage ? [] : [opened[1]]), ...lines.slice(at + 1, end), ...(last ? [last] : [])];
  const language = isLanguage ? opened[1].trim() : '';
  return { block: { kind: 'fence', language, text: inside.join('\n') }, end: end + 1 };
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {{block: Quote, end: number} | null}
 */
function quoteAt(lines, at, depth) {
  if (!/^> .*\S/.test(lines[at])) return null;
  /** @type {string[]} */
  const inside = [];
  let end = at;
  for (let quoted; end < lines.length && (quoted = QUOTED.exec(lines[end])); end += 1) inside.push(quoted[1] ?? '');
  return { block: { kind: 'quote', blocks: blocksOf(inside, depth + 1) }, end };
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {{block: List, end: number} | null}
 */
function listAt(lines, at) {
  /** @type {{number: number, indent: number, text: string}[]} */
  const rows = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const item = ITEM.exec(lines[end]);
    const last = rows.at(-1);
    if (item && (!last || isNumbered(item) === last.number > 0)) {
      rows.push({ number: Number(item[2] ?? 0), indent: item[1].length, text: item[3] });
    } else if (last && /^ {2,}\S/.test(lines[end])) {
      last.text += `\n${lines[end].trim()}`;
    } else break;
  }
  if (rows.length === 0) return null;
  return { block: { kind: 'list', items: itemsOf(rows) }, end };
}

/** @param {RegExpExecArray} item */
function isNumbered(item) {
  return Number(item[2] ?? 0) > 0;
}

/**
 * @param {{number: number, indent: number, text: string}[]} rows
 * @returns {Item[]}
 */
function itemsOf(rows) {
  /** The indents of the lists that are open. */
  let indents = [0];
  return rows.map(({ number, indent, text }) => {
    indents = indents.filter((open) => open <= indent);
    if (indent > (indents.at(-1) ?? 0) + 1 && indents.length < LEVELS) indents.push(indent);
    return { number, level: indents.length, inner: inlineOf(text) };
  });
}

/** @param {string[]} lines */
function withoutBlankEnd(lines) {
  let end = lines.length;
  while (end > 0 && lines[end - 1].trim() === '') end -= 1;
  return lines.slice(0, end);
}

/** @param {string[]} lines between blocks, where blank lines are no more than a distance */
function withoutBlankEnds(lines) {
  const start = lines.findIndex((line) => line.trim() !== '');
  return start < 0 ? [] : withoutBlankEnd(lines.slice(start));
}
