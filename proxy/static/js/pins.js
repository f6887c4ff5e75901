/**
 * The pinned messages of a room, as far as this page knows them. Pure.
 *
 * The rules:
 * - What is known of a pin is kept when its message is no longer loaded.
 * - A change that tells of a pin on a message that was never loaded tells neither its sender nor
 *   when it was sent: only that it is there.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').MessageChange} MessageChange
 * @typedef {import('./room.js').Room} Room
 */

/**
 * Notes whether a message is pinned.
 *
 * @param {Pick<Room, 'pins'>} room
 * @param {ChatMessage} message as it stands
 */
export function notePin({ pins }, message) {
  const state = message.extra?.state;
  if (state?.pinned && !state.deleted_at) pins.set(message.seq, message);
  else if (pins.size > 0) pins.delete(message.seq);
}

/**
 * Notes what became of a message that is not loaded.
 *
 * @param {Pick<Room, 'pins'>} room
 * @param {MessageChange} change
 */
export function noteFarPin({ pins }, { seq, content, state }) {
  const known = pins.get(seq);
  if (!state) return;
  if (!state.pinned || state.deleted_at) pins.delete(seq);
  else if (!known) pins.set(seq, null);
  else pins.set(seq, { ...known, content: content ?? known.content, extra: { ...known.extra, state } });
}

/**
 * @param {Pick<Room, 'pins'>} room
 * @returns {{seq: number, message: ChatMessage | null}[]} oldest first; null where it was never loaded
 */
export function pinsOf({ pins }) {
  return [...pins].map(([seq, message]) => ({ seq, message })).sort((a, b) => a.seq - b.seq);
}
