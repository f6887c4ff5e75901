/**
 * The emoji that are offered, with the words that find them. Any other can be typed. Pure.
 */

/** The first six are offered at once. */
/** @type {[emoji: string, words: string][]} */
export const EMOJI = [
  ['👍', 'thumbs up yes agree'],
  ['❤️', 'red heart love'],
  ['😂', 'tears of joy laugh'],
  ['🎉', 'party popper celebrate tada'],
  ['😮', 'open mouth surprised wow'],
  ['😢', 'crying sad'],
  ['👎', 'thumbs down no'],
  ['👀', 'eyes looking'],
  ['🙏', 'folded hands thanks please'],
  ['👏', 'clapping applause'],
  ['✅', 'check mark done'],
  ['❌', 'cross mark wrong'],
  ['🔥', 'fire hot'],
  ['🚀', 'rocket ship'],
  ['💯', 'hundred points'],
  ['🤔', 'thinking'],
  ['😀', 'grinning happy'],
  ['😅', 'grinning with sweat'],
  ['🙂', 'slightly smiling'],
  ['😉', 'winking'],
  ['😍', 'heart eyes'],
  ['😎', 'sunglasses cool'],
  ['😭', 'loudly crying'],
  ['😡', 'angry'],
  ['😴', 'sleeping tired'],
  ['🤯', 'exploding head'],
  ['🤷', 'shrug'],
  ['🙌', 'raising hands hooray'],
  ['👋', 'waving hello bye'],
  ['💪', 'muscle strong'],
  ['🤝', 'handshake deal'],
  ['🫡', 'salute'],
  ['💡', 'light bulb idea'],
  ['⭐', 'star'],
  ['⏳', 'hourglass wait'],
  ['📌', 'pin'],
  ['🐛', 'bug'],
  ['☕', 'coffee break'],
  ['🍕', 'pizza food'],
  ['❓', 'question mark'],
];

/** @type {string[]} */
export const QUICK = EMOJI.slice(0, 6).map(([emoji]) => emoji);

/**
 * @param {string} query
 * @returns {[emoji: string, words: string][]} all, if nothing is asked for
 */
export function findEmoji(query) {
  const wanted = query.trim().toLowerCase();
  return EMOJI.filter(([emoji, words]) => emoji === wanted || ` ${words}`.includes(` ${wanted}`));
}

/**
 * @param {string} emoji
 * @returns {string} what it shows; empty if it is not among those offered
 */
export function nameOfEmoji(emoji) {
  return EMOJI.find(([known]) => known === emoji)?.[1] ?? '';
}
