/**
 * The lines of the log as elements.
 *
 * @typedef {import('../timeline.js').Line} Line
 * @typedef {import('../timeline.js').MessageLine} MessageLine
 */

import { language, t } from '../texts.js';
import { initialOf } from '../tone.js';
import { fromTemplate, part, setText } from './dom.js';
import { updateMarks } from './marks.js';
import { fillText } from './rich.js';
import { dayName, fullTimeOf, timeOf } from './times.js';

/** A message with more than so many characters or lines is folded. */
const FOLD_CHARACTERS = 1500;
const FOLD_LINES = 24;
/** @type {WeakMap<HTMLElement, string>} what the texts of messages were made of */
const shownTexts = new WeakMap();
/** @type {Record<string, string>} */
const BUSY = { saving: 'message.saving', deleting: 'message.deleting' };

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
 * @param {import('../people.js').People} people
 */
export function updateLine(element, line, people) {
  if (line.kind === 'day') setText(part(element, 'day', HTMLElement), dayName(line.at));
  if (line.kind === 'message') updateMessage(element, line, people);
}

/** @param {MessageLine} line */
function createMessage({ message }) {
  const element = fromTemplate('message-template');
  element.dataset.id = message.id;
  element.tabIndex = -1;
  part(element, 'unfold', HTMLButtonElement).addEventListener('click', ({ currentTarget }) => {
    setFold(element, /** @type {Element} */ (currentTarget).getAttribute('aria-expanded') === 'false');
  });
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {MessageLine} line
 * @param {import('../people.js').People} people
 */
function updateMessage(element, line, people) {
  const { message, state, at, own, opens, look } = line;
  element.dataset.seq = 'seq' in message ? String(message.seq) : '';
  element.dataset.state = state;
  const name = people.nameOf(message.sender_id);
  element.dataset.tone = String(people.toneOf(message.sender_id));
  setText(part(element, 'avatar', HTMLElement), initialOf(name));
  setText(part(element, 'sender', HTMLElement), name);
  setText(part(element, 'sign', HTMLElement), people.signOf(message.sender_id));
  // Most messages are nothing but their text, which never changes.
  const adorned = look !== null || line.quote !== null;
  if (!element.dataset.adorned || adorned || element.dataset.adorned === 'yes') {
    element.dataset.adorned = adorned ? 'yes' : 'no';
    showText(element, look?.content ?? message.content, look, people);
    updateMarks(element, line, people);
  }
  part(element, 'reach', HTMLButtonElement).hidden = state !== 'sent' || (look?.deleted ?? false);
  element.classList.toggle('own', own);
  element.classList.toggle('opens', opens);
  const time = part(element, 'time', HTMLTimeElement);
  setText(time, timeOf(at));
  time.dateTime = isNaN(at.getTime()) ? '' : at.toISOString();
  time.title = fullTimeOf(at);
  showStatus(element, line);
}

/**
 * @param {HTMLElement} element
 * @param {MessageLine} line
 */
function showStatus(element, { message, state, look }) {
  const progress = look?.progress ?? '';
  element.dataset.progress = progress;
  const failed = state === 'failed' || progress === 'failed';
  part(element, 'status', HTMLElement).hidden = state === 'sent' && progress === '';
  part(element, 'actions', HTMLElement).hidden = !failed;
  const unsaved = look?.unsaved ?? '';
  part(element, 'unsaved', HTMLElement).hidden = unsaved === '';
  setText(part(element, 'unsaved-text', HTMLElement), unsaved);
  const retry = part(element, 'retry', HTMLButtonElement);
  // Nothing can be done to a message that is gone.
  retry.hidden = look?.deleted ?? false;
  setText(retry, t(unsaved ? 'message.save_mine' : 'message.retry'));
  const busy = state === 'sent' ? BUSY[progress] : 'message.sending';
  const said = failed ? errorOf(message, look) : busy && t(busy);
  setText(part(element, 'state', HTMLElement), said ?? '');
}

/**
 * @param {MessageLine['message']} message
 * @param {MessageLine['look']} look
 */
function errorOf(message, look) {
  if ('error' in message) return t('message.not_sent', { reason: message.error });
  return t('message.not_saved', { reason: look?.error ?? '' });
}

/**
 * @param {HTMLElement} element
 * @param {string} content
 * @param {import('../look.js').Look | null} look
 * @param {import('../people.js').People} people
 */
function showText(element, content, look, people) {
  const text = part(element, 'text', HTMLElement);
  const deleted = look?.deleted ?? false;
  const shown = deleted ? goneText(look?.deletedBy ? people.shown(look.deletedBy) : '') : content;
  element.classList.toggle('deleted', deleted);
  const state = `${language()} ${deleted} ${shown}`;
  if (shownTexts.get(text) === state) return;
  shownTexts.set(text, state);
  if (deleted) text.replaceChildren(shown);
  else fillText(text, shown);
  const long = !deleted && isLong(content);
  text.classList.toggle('long', long);
  part(element, 'unfold', HTMLButtonElement).hidden = !long;
  setFold(element, !long);
}

/** @param {string} deleter who is not the sender; or empty */
function goneText(deleter) {
  return deleter ? t('message.deleted_by', { name: deleter }) : t('message.deleted');
}

/** @param {string} content */
function isLong(content) {
  return content.length > FOLD_CHARACTERS || content.split('\n', FOLD_LINES + 1).length > FOLD_LINES;
}

/**
 * @param {HTMLElement} element
 * @param {boolean} open
 */
function setFold(element, open) {
  part(element, 'text', HTMLElement).classList.toggle('folded', !open);
  const toggle = part(element, 'unfold', HTMLButtonElement);
  toggle.setAttribute('aria-expanded', String(open));
  toggle.textContent = t(open ? 'message.show_less' : 'message.show_all');
}
