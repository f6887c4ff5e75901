/**
 * What a message has beside its text: the message it answers, who reacted, that it was edited, is
 * pinned, or mentions the user.
 *
 * @typedef {import('../look.js').Chip} Chip
 * @typedef {import('../look.js').Look} Look
 * @typedef {import('../timeline.js').MessageLine} MessageLine
 */

import { firstWords, whoReacted } from '../look.js';
import { t } from '../texts.js';
import { arrange, part, setText } from './dom.js';

/**
 * @param {HTMLElement} element
 * @param {MessageLine} line
 * @param {import('../people.js').People} people
 */
export function updateMarks(element, { look, quote, mentioned }, people) {
  element.classList.toggle('mentioned', mentioned);
  part(element, 'mention', HTMLElement).hidden = !mentioned;
  part(element, 'edited', HTMLElement).hidden = !look?.edited || look.deleted;
  part(element, 'pin', HTMLElement).hidden = !look?.pinned;
  updateQuote(part(element, 'quote', HTMLButtonElement), quote, people);
  updateChips(part(element, 'chips', HTMLUListElement), look?.chips ?? [], people);
}

/**
 * @param {HTMLButtonElement} button
 * @param {MessageLine['quote']} quote
 * @param {import('../people.js').People} people
 */
function updateQuote(button, quote, people) {
  button.hidden = quote === null;
  if (!quote) return;
  button.dataset.action = 'go';
  button.dataset.to = String(quote.seq);
  const { message, content } = quote;
  setText(part(button, 'quote-sender', HTMLElement), message ? `${people.shown(message.sender_id)}: ` : '');
  const words = message ? firstWords(content) || t('message.deleted') : t('message.earlier');
  setText(part(button, 'quote-words', HTMLElement), words);
  button.classList.toggle('gone', !message || content === '');
}

/**
 * @param {HTMLUListElement} list
 * @param {Chip[]} chips
 * @param {import('../people.js').People} people
 */
function updateChips(list, chips, people) {
  list.hidden = chips.length === 0;
  if (chips.length === 0 && list.childElementCount === 0) return;
  const known = new Map([...list.children].map((item) => [/** @type {HTMLElement} */ (item).dataset.emoji, item]));
  const items = chips.map((chip) => {
    const item = /** @type {HTMLElement} */ (known.get(chip.emoji) ?? createChip(chip.emoji));
    updateChip(/** @type {HTMLButtonElement} */ (item.firstElementChild), named(chip, people));
    return item;
  });
  arrange(list, items);
}

/** @param {string} emoji */
function createChip(emoji) {
  const item = document.createElement('li');
  item.dataset.emoji = emoji;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'chip';
  button.dataset.action = 'toggle';
  button.dataset.emoji = emoji;
  button.dataset.testid = 'chip';
  button.tabIndex = -1;
  const sign = document.createElement('span');
  sign.className = 'chip-emoji';
  sign.textContent = emoji;
  const count = document.createElement('span');
  count.className = 'chip-count';
  button.append(sign, ' ', count);
  item.append(button);
  return item;
}

/**
 * @param {HTMLButtonElement} button
 * @param {Chip} chip
 */
function updateChip(button, chip) {
  const { emoji, count, mine, waits } = chip;
  setText(/** @type {Element} */ (button.lastElementChild), String(count));
  const pressed = String(mine);
  if (button.getAttribute('aria-pressed') !== pressed) button.setAttribute('aria-pressed', pressed);
  const name = `${emoji} ${count}, ${whoReacted(chip)}`;
  if (button.getAttribute('aria-label') !== name) button.setAttribute('aria-label', name);
  button.title = namesOf(chip);
  button.classList.toggle('waits', waits);
}

/**
 * @param {Chip} chip
 * @param {import('../people.js').People} people
 * @returns {Chip} with the others by their names
 */
export function named(chip, people) {
  return { ...chip, others: chip.others.map((id) => people.shown(id)) };
}

/** @param {Chip} chip */
function namesOf({ count, mine, others }) {
  const names = mine ? [...others, t('who.you')] : others;
  const more = count - names.length;
  return more > 0 ? [...names, t('who.more', { count: more })].join(', ') : names.join(', ');
}
