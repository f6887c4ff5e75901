/** How a user looks without a picture: a colour, and a letter. Pure. */

/** How many colours there are; the style sheet has one for each. */
const TONES = 8;

/**
 * @param {string} id
 * @param {number} [chosen] by the user, from 1; 0 for none
 * @returns {number} the same colour for a user wherever it is seen, whatever the name
 */
export function toneOf(id, chosen = 0) {
  if (chosen > 0) return (chosen - 1) % TONES;
  let hash = 0x811c9dc5; // FNV-1a, 32 bits
  for (const character of id) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % TONES;
}

/** @param {string} name */
export function initialOf(name) {
  const [first] = new Intl.Segmenter().segment(name);
  return (first?.segment ?? '').toLocaleUpperCase();
}
