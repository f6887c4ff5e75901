/**
 * The list of people of a room: those who are there, and those who were. Pure.
 *
 * @typedef {object} Members
 * @property {string} roomId
 * @property {boolean} wanted whether it is to be asked for
 * @property {'loading' | 'ready' | 'failed'} state
 * @property {string[]} ids of those who were there, or are
 * @property {string[]} here of those who are, where presence names nobody for there are too many
 * @property {boolean} hasMore whether there are more
 *
 * @typedef {{members?: {user_id: string, present?: boolean}[], next_page_token?: string}} MembersPage
 *
 * @typedef {object} Row
 * @property {string} id
 * @property {boolean} isHere
 * @property {boolean} isSelf
 */

/**
 * @param {string} roomId
 * @returns {Members}
 */
export function wantMembers(roomId) {
  return { roomId, wanted: true, state: 'loading', ids: [], here: [], hasMore: false };
}

/**
 * @param {Members} members
 * @param {MembersPage} page
 * @param {boolean} ofPresent whether it is of those alone who are there
 */
export function applyMembers(members, page, ofPresent) {
  const found = page.members ?? [];
  members.state = 'ready';
  members.hasMore ||= Boolean(page.next_page_token);
  if (ofPresent) members.here = found.map(({ user_id: id }) => id);
  else members.ids = found.map(({ user_id: id }) => id);
}

/**
 * @param {Members} members
 * @param {import('./here.js').Here['present']} present null: it is not known who is there
 * @param {string} self
 * @param {(id: string) => string} nameOf
 * @returns {Row[]} those who are there first, of them the user, then by name
 */
export function rowsOf(members, present, self, nameOf) {
  const here = new Set(present ? [...present.ids, ...members.here] : []);
  if (present && here.size > 0) here.add(self);
  const rows = [...new Set([...here, ...members.ids])].map((id) => ({
    id,
    isHere: here.has(id),
    isSelf: id === self,
    name: nameOf(id),
  }));
  rows.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1));
  return rows.map(({ id, isHere, isSelf }) => ({ id, isHere, isSelf }));
}

/** @param {Row} row */
function rank({ isHere, isSelf }) {
  return (isHere ? 0 : 2) + (isSelf ? 0 : 1);
}
