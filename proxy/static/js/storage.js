/**
 * What outlives the page: the name and the rooms (for all tabs), the messages that are
 * not confirmed, and the token (for this tab). A browser that keeps nothing, or something
 * else under these keys, is no error: one starts anew.
 *
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {import('./store.js').Saved} Saved
 */

const SETTINGS = 'chat.settings';
const OUTBOX = 'chat.outbox';
const TOKEN = 'chat.token';

/** @returns {Saved} */
export function loadSettings() {
  const saved = read(() => localStorage, SETTINGS);
  const rooms = Array.isArray(saved?.rooms) ? saved.rooms : [];
  return { name: asText(saved?.name), current: asText(saved?.current), rooms: rooms.flatMap(asRoom) };
}

/** @param {Saved} settings */
export function saveSettings(settings) {
  write(() => localStorage, SETTINGS, settings);
}

/** @returns {Pending[]} */
export function loadOutbox() {
  const saved = read(() => sessionStorage, OUTBOX);
  return Array.isArray(saved) ? saved.filter(isPending) : [];
}

/** @param {Pending[]} outbox */
export function saveOutbox(outbox) {
  write(() => sessionStorage, OUTBOX, outbox);
}

/** @returns {string} empty for none */
export function loadToken() {
  return asText(read(() => sessionStorage, TOKEN));
}

/** @param {string} token empty for none */
export function saveToken(token) {
  write(() => sessionStorage, TOKEN, token);
}

/**
 * @param {() => Storage} storage reading the property itself throws where storage is forbidden
 * @param {string} key
 * @returns {any} what was written, or null
 */
function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key) ?? 'null');
  } catch {
    return null;
  }
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 * @param {unknown} value
 */
function write(storage, key, value) {
  try {
    const text = JSON.stringify(value);
    if (storage().getItem(key) !== text) storage().setItem(key, text);
  } catch {
    // Full or forbidden: the page works, it only forgets.
  }
}

/** @param {unknown} value */
function asText(value) {
  return typeof value === 'string' ? value : '';
}

/** @param {any} value */
function asRoom(value) {
  if (typeof value?.id !== 'string') return [];
  const readSeq = Number.isInteger(value.readSeq) ? value.readSeq : null;
  return [{ id: value.id, epoch: asText(value.epoch), readSeq }];
}

/**
 * @param {any} value
 * @returns {value is Pending}
 */
function isPending(value) {
  const texts = [value?.id, value?.room_id, value?.sender_id, value?.content, value?.created];
  return texts.every((text) => typeof text === 'string') && ['sending', 'failed'].includes(value.state);
}
