/**
 * The emoji that are offered, with the texts whose words find them. Any other can be typed. Pure.
 */

import { t } from './texts.js';

/** The first six are offered at once. */
/** @type {[emoji: string, key: string][]} */
export const EMOJI = [
  ['👍', 'emoji.thumbs_up'],
  ['❤️', 'emoji.red_heart'],
  ['😂', 'emoji.tears_of'],
  ['🎉', 'emoji.party_popper'],
  ['😮', 'emoji.open_mouth'],
  ['😢', 'emoji.crying_sad'],
  ['👎', 'emoji.thumbs_down'],
  ['👀', 'emoji.eyes_looking'],
  ['🙏', 'emoji.folded_hands'],
  ['👏', 'emoji.clapping_applause'],
  ['✅', 'emoji.check_mark'],
  ['❌', 'emoji.cross_mark'],
  ['🔥', 'emoji.fire_hot'],
  ['🚀', 'emoji.rocket_ship'],
  ['💯', 'emoji.hundred_points'],
  ['🤔', 'emoji.thinking'],
  ['😀', 'emoji.grinning_happy'],
  ['😅', 'emoji.grinning_with'],
  ['🙂', 'emoji.slightly_smiling'],
  ['😉', 'emoji.winking'],
  ['😍', 'emoji.heart_eyes'],
  ['😎', 'emoji.sunglasses_cool'],
  ['😭', 'emoji.loudly_crying'],
  ['😡', 'emoji.angry'],
  ['😴', 'emoji.sleeping_tired'],
  ['🤯', 'emoji.exploding_head'],
  ['🤷', 'emoji.shrug'],
  ['🙌', 'emoji.raising_hands'],
  ['👋', 'emoji.waving_hello'],
  ['💪', 'emoji.muscle_strong'],
  ['🤝', 'emoji.handshake_deal'],
  ['🫡', 'emoji.salute'],
  ['💡', 'emoji.light_bulb'],
  ['⭐', 'emoji.star'],
  ['⏳', 'emoji.hourglass_wait'],
  ['📌', 'emoji.pin'],
  ['🐛', 'emoji.bug'],
  ['☕', 'emoji.coffee_break'],
  ['🍕', 'emoji.pizza_food'],
  ['❓', 'emoji.question_mark'],
];

/** @type {string[]} */
export const QUICK = EMOJI.slice(0, 6).map(([emoji]) => emoji);

/**
 * @param {string} query
 * @returns {[emoji: string, key: string][]} all, if nothing is asked for
 */
export function findEmoji(query) {
  const wanted = query.trim().toLowerCase();
  return EMOJI.filter(([emoji, key]) => emoji === wanted || ` ${t(key)}`.includes(` ${wanted}`));
}

/**
 * @param {string} emoji
 * @returns {string} what it shows; empty if it is not among those offered
 */
export function nameOfEmoji(emoji) {
  const found = EMOJI.find(([known]) => known === emoji);
  return found ? t(found[1]) : '';
}
