/**
 * Whom the page names: who has a name already, whose names are in view, and who can be mentioned. Pure.
 *
 * @typedef {import('./store.js').Store} Store
 */

/**
 * @param {Store} store
 * @param {string} name that the user may want
 * @param {string | undefined} self who the user is, or will be
 * @returns {import('./view/taken.js').Taken | null} who else has it; null: nobody that is known
 */
export function takenBy(store, name, self) {
  const id = store.people.holders(name).find((holder) => holder !== self);
  if (id === undefined) return null;
  const here = store.current?.here.present?.ids ?? store.seenThere.ids;
  return { name: store.people.nameOf(id), isHere: here.includes(id) };
}

/**
 * @param {Store} store
 * @returns {Set<string>} the users whose names are in view
 */
export function shownUsers(store) {
  const { current: room, members } = store;
  if (!room) return new Set();
  const { present, typists } = room.here;
  const senders = room.messages.map(({ sender_id: sender }) => sender);
  return new Set([...senders, ...(present?.ids ?? []), ...typists.ids, ...(members?.ids ?? []), ...(members?.here ?? [])]);
}

/**
 * @param {Store} store
 * @returns {import('./view/suggest.js').People | null} null where nobody can be mentioned
 */
export function mentionable(store) {
  const room = store.current;
  if (!room || room.lastChange === null || room.editing) return null;
  const wrote = room.messages.map((message) => message.sender_id).reverse();
  // Those who are there now come first.
  const here = [...new Set([...(room.here.present?.ids ?? []), ...wrote])];
  // Whoever is here is known, if only by the id.
  const users = [...here.map((id) => ({ id, name: store.people.shown(id) })), ...store.people.everybody()];
  return { here, users, self: store.self };
}
