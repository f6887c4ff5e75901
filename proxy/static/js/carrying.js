/**
 * What of the store goes on in another page: in the next one that is opened, and in that of another
 * tab. Pure.
 *
 * @typedef {import('./changes.js').PendingChange} PendingChange
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {import('./store.js').Store} Store
 *
 * @typedef {object} Saved the settings that outlive the page
 * @property {string} current
 * @property {import('./saved.js').SavedRoom[]} rooms
 */

/**
 * @param {Store} store
 * @returns {Saved}
 */
export function savedOf(store) {
  const rooms = [...store.rooms.values()].map(({ id, epoch, keptSeq, readSeq, title }) => ({ id, epoch, readSeq: keptSeq ?? readSeq, title }));
  return { current: store.currentId, rooms };
}

/**
 * Restores the state saved by an earlier page.
 *
 * @param {Store} store
 * @param {Saved} saved
 * @param {Pending[]} outbox
 * @param {PendingChange[]} [changes]
 */
export function restore(store, saved, outbox, changes = []) {
  for (const room of saved.rooms) store.addRoom(room.id, room);
  for (const pending of outbox) {
    store.addRoom(pending.room_id).pending.push({ ...pending, inFlight: false });
  }
  for (const change of changes) store.rooms.get(change.room_id)?.changes.push(change);
  if (store.rooms.has(saved.current)) store.select(saved.current);
}

/**
 * Takes over what a closed tab left unconfirmed.
 *
 * @param {Store} store
 * @param {import('./unsent.js').Left} left
 * @returns {import('./unsent.js').Left} what of it is the user's, and was taken
 */
export function takeOver(store, { outbox, changes }) {
  const own = {
    outbox: outbox.filter((pending) => pending.sender_id === store.self),
    changes: changes.filter((change) => change.user_id === store.self),
  };
  for (const pending of own.outbox) {
    const room = store.addRoom(pending.room_id);
    if (!room.pending.some(({ id }) => id === pending.id)) room.pending.push(pending);
  }
  for (const change of own.changes) {
    const room = store.addRoom(change.room_id, { epoch: change.epoch });
    if (!room.changes.some(({ id }) => id === change.id)) room.changes.push(change);
  }
  return own;
}

/**
 * Forgets what another tab took over.
 *
 * @param {Store} store
 * @param {import('./unsent.js').Left} left
 */
export function giveUp(store, { outbox, changes }) {
  for (const { room_id: roomId, id } of outbox) store.discard(roomId, id);
  const ids = new Set(changes.map(({ id }) => id));
  for (const room of store.rooms.values()) room.changes = room.changes.filter(({ id }) => !ids.has(id));
}
