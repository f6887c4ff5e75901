/**
 * The lines of the log as elements.
 *
 * @typedef {import('../timeline.js').Line} Line
 * @typedef {import('../timeline.js').MessageLine} MessageLine
 */

import { splitLinks } from '../links.js';
import { fromTemplate, part, setText } from './dom.js';
import { dayName, fullTimeOf, timeOf } from './times.js';

/** How many colours there are for names; the style sheet has one for each. */
const TONES = 8;
/** A message with more than so many characters or lines is folded. */
const FOLD_CHARACTERS = 1500;
const FOLD_LINES = 24;

/**
 * @param {Line} line
 * @returns {HTMLElement}
 */
export function createLine(line) {
  if (line.kind === 'message') return createMessage(line);
  return fromTemplate(line.kind === 'day' ? 'day-template' : 'mark-template');
}

/**
 * Brings an element of `createLine` up to date.
 *
 * @param {HTMLElement} element
 * @param {Line} line
 */
export function updateLine(element, line) {
  if (line.kind === 'day') setText(part(element, 'day', HTMLElement), dayName(line.at));
  if (line.kind === 'message') updateMessage(element, line);
}

/** @param {MessageLine} line */
function createMessage({ message }) {
  const element = fromTemplate('message-template');
  const { id, sender_id: sender, content } = message;
  element.dataset.id = id;
  element.dataset.tone = String(toneOf(sender));
  part(element, 'avatar', HTMLElement).textContent = initialOf(sender);
  part(element, 'sender', HTMLElement).textContent = sender;
  fillText(part(element, 'text', HTMLElement), content);
  if (isLong(content)) fold(element);
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {MessageLine} line
 */
function updateMessage(element, { message, state, at, own, opens }) {
  element.dataset.seq = 'seq' in message ? String(message.seq) : '';
  element.dataset.state = state;
  element.classList.toggle('own', own);
  element.classList.toggle('opens', opens);
  const time = part(element, 'time', HTMLTimeElement);
  setText(time, timeOf(at));
  time.dateTime = isNaN(at.getTime()) ? '' : at.toISOString();
  time.title = fullTimeOf(at);
  const failed = state === 'failed';
  part(element, 'status', HTMLElement).hidden = state === 'sent';
  part(element, 'actions', HTMLElement).hidden = !failed;
  const error = 'error' in message ? message.error : '';
  setText(part(element, 'state', HTMLElement), failed ? `Not sent: ${error}` : 'Sending…');
}

/**
 * @param {HTMLElement} parent
 * @param {string} content
 */
function fillText(parent, content) {
  parent.append(...splitLinks(content).map(({ text, href }) => (href ? link(text, href) : text)));
}

/**
 * @param {string} text
 * @param {string} href
 */
function link(text, href) {
  const anchor = document.createElement('a');
  anchor.textContent = text;
  anchor.href = href;
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer';
  return anchor;
}

/** @param {string} content */
function isLong(content) {
  return content.length > FOLD_CHARACTERS || content.split('\n', FOLD_LINES + 1).length > FOLD_LINES;
}

/** @param {HTMLElement} element */
function fold(element) {
  const text = part(element, 'text', HTMLElement);
  const toggle = part(element, 'unfold', HTMLButtonElement);
  text.classList.add('long');
  const set = (/** @type {boolean} */ open) => {
    text.classList.toggle('folded', !open);
    toggle.setAttribute('aria-expanded', String(open));
    toggle.textContent = open ? 'Show less' : 'Show all';
  };
  toggle.addEventListener('click', () => set(text.classList.contains('folded')));
  toggle.hidden = false;
  set(false);
}

/**
 * @param {string} name
 * @returns {number} the same colour for a name wherever it is seen
 */
function toneOf(name) {
  let hash = 0x811c9dc5; // FNV-1a, 32 bits
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % TONES;
}

/** @param {string} name */
function initialOf(name) {
  const [first] = new Intl.Segmenter().segment(name);
  return (first?.segment ?? '').toLocaleUpperCase();
}
