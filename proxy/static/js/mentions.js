/**
 * Mentions: the name that is being typed behind an "@", who it may be, and which of the chosen ones
 * a text still has. Nothing else in a text is looked at: an id is a mention only if it was chosen
 * from the list. Pure.
 */

/** The schema allows so many in a message. */
export const MENTIONS = 50;
/** So many are offered. */
const OFFERED = 8;
/** "@" at the start or behind a blank or bracket, and what follows it up to the caret. */
const TYPED = /(?:^|[\s([{"'«„“‘/])@([^\s@]{0,64})$/u;

/**
 * @param {string} text
 * @param {number} caret
 * @returns {{start: number, query: string} | null} where the "@" is; null if none is being typed
 */
export function mentionAt(text, caret) {
  const match = TYPED.exec(text.slice(Math.max(0, caret - 80), caret));
  return match ? { start: caret - match[1].length - 1, query: match[1] } : null;
}

/**
 * Chooses whom to offer: those of the room first, in their order; then all others that are known. A beginning of the name counts more than a part of it.
 *
 * @param {string} query
 * @param {string[]} here ids of those who come first
 * @param {{id: string, name?: string}[]} users
 * @param {string} self who is not offered
 * @returns {string[]} ids, each once
 */
export function candidates(query, here, users, self) {
  const names = new Map(users.map(({ id, name }) => [id, name || id]));
  const ids = [...new Set([...here, ...names.keys()])].filter((id) => id !== self);
  const wanted = fold(query);
  const rank = (/** @type {string} */ id) => {
    const texts = [fold(id), fold(names.get(id) ?? id)];
    if (texts.some((text) => text.startsWith(wanted))) return 0;
    return texts.some((text) => text.includes(wanted)) ? 1 : 2;
  };
  const found = [0, 1].flatMap((level) => ids.filter((id) => rank(id) === level));
  return found.slice(0, OFFERED);
}

/**
 * @param {string} text
 * @returns {string} what it has in common with one of other case, or without accents
 */
export function fold(text) {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase();
}

/**
 * @param {string} text
 * @param {{start: number, query: string}} typed
 * @param {string} name chosen for it
 * @returns {{text: string, caret: number}}
 */
export function complete(text, { start, query }, name) {
  const end = start + 1 + query.length;
  const after = text.slice(end);
  const caret = start + 1 + name.length;
  // The next word goes on at once; what ends a sentence stays at the name.
  const blank = /^[\s.,;:!?)]/u.test(after) ? '' : ' ';
  const completed = `${text.slice(0, start)}@${name}${blank}${after}`;
  return { text: completed, caret: /^\s/u.test(blank + after) ? caret + 1 : caret };
}

/**
 * @param {string} text as it is sent
 * @param {Map<string, string>} chosen ids, and the names by which they were written
 * @returns {string[]} ids of those that it still names
 */
export function mentionsIn(text, chosen) {
  return [...chosen].filter(([, name]) => names(text, name)).map(([id]) => id).slice(0, MENTIONS);
}

/**
 * @param {string} text
 * @param {string} name
 */
function names(text, name) {
  const written = `@${name}`;
  for (let at = text.indexOf(written); at >= 0; at = text.indexOf(written, at + 1)) {
    if (!/^[\p{L}\p{N}_]/u.test(text.slice(at + written.length))) return true;
  }
  return false;
}
