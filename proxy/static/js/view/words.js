/**
 * A message in words: as a screen reader says it, and as it is copied among others.
 *
 * @typedef {import('../protocol.js').ChatMessage} ChatMessage
 * @typedef {import('../store.js').Store} Store
 */

import { whoReacted } from '../look.js';
import { plainText } from '../markup.js';
import { t } from '../texts.js';
import { lookIn } from '../timeline.js';
import { named } from './marks.js';
import { timeOf } from './times.js';

/**
 * @param {Store} store
 * @param {ChatMessage | undefined} message a stored one of the current room
 * @param {HTMLElement} element
 * @returns {string} what a screen reader says of a message that gets the focus
 */
export function spokenOf({ current: room, people, self }, message, element) {
  if (!room || !message) return textIn(element, 'text');
  const look = lookIn(room, message, self);
  const mentioned = element.classList.contains('mentioned');
  const said = [
    `${people.shown(message.sender_id)}, ${timeOf(new Date(message.sent_at))}`,
    look.deleted ? t('message.deleted') : plainText(look.content),
    mentioned ? t('read_out.mentions_you') : '',
    look.edited && !look.deleted ? t('message.edited') : '',
    look.pinned ? t('read_out.pinned') : '',
    ...look.chips.map((chip) => `${chip.emoji} ${chip.count}, ${whoReacted(named(chip, people))}`),
    look.error ? t('read_out.not_saved', { reason: look.error }) : '',
    look.unsaved ? t('read_out.your_text', { text: look.unsaved }) : '',
  ];
  return said.filter((text) => text !== '').join('; ');
}

/**
 * @param {Store} store
 * @param {ChatMessage | undefined} message a stored one of the current room
 * @param {HTMLElement} element
 * @returns {string} a message as it is copied among others
 */
export function lineOf({ current: room, people, self }, message, element) {
  if (!room || !message) return `[${textIn(element, 'time')}] ${textIn(element, 'sender')}: ${textIn(element, 'text')}`;
  const { content, deleted } = lookIn(room, message, self);
  const time = timeOf(new Date(message.sent_at));
  return `[${time}] ${people.shown(message.sender_id)}: ${deleted ? t('message.deleted') : content}`;
}

/**
 * @param {HTMLElement} element
 * @param {string} name of its part
 */
function textIn(element, name) {
  return element.querySelector(`[data-part="${name}"]`)?.textContent ?? '';
}
