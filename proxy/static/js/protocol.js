/**
 * The frames of the server and the limits of a chat connection, as the schema
 * (proto/chat.proto, `ServerFrame`) defines them.
 *
 * @typedef {object} ChatMessage
 * @property {string} id sender's name for the message, its idempotency key
 * @property {string} room_id
 * @property {string} sender_id
 * @property {string} content
 * @property {number} seq position in the room, from 1, without gaps
 * @property {string} sent_at RFC 3339, when the server stored it
 * @property {MessageExtra} [extra] what only some messages have
 *
 * @typedef {object} MessageExtra
 * @property {number} [reply_to] the position of the message that it answers
 * @property {string[]} [mentions] the users that it is for
 * @property {boolean} [mentions_room] whether it is for everybody
 * @property {string} [data]
 * @property {MessageState} [state] what became of it; set by the server
 *
 * @typedef {object} MessageState
 * @property {number} change the room's change that made it so; of two states the larger holds
 * @property {string} [edited_at] RFC 3339
 * @property {string} [deleted_at] RFC 3339; the text is empty then
 * @property {string} [deleted_by] who deleted it, if not the sender
 * @property {boolean} [pinned]
 * @property {Reaction[]} [reactions] in the order in which their kinds were first given
 *
 * @typedef {object} Reaction
 * @property {string} emoji
 * @property {number} count
 * @property {string[]} user_ids those that were first; at most 20
 *
 * @typedef {object} MessageChange a message as it stands
 * @property {number} seq
 * @property {string} [content] its text, if that changed
 * @property {MessageState} [state]
 *
 * @typedef {object} RoomChanges what changed behind one change, up to another
 * @property {string} room_id
 * @property {number} after_change
 * @property {number} last_change
 * @property {MessageChange[]} messages
 * @property {import('./info.js').RoomInfo | null} [room] the room as it stands, if that changed
 *
 * @typedef {object} ChangesPage
 * @property {RoomChanges} changes
 * @property {boolean} has_more
 * @property {string} epoch
 *
 * @typedef {object} Mark how far a user has read
 * @property {string} room_id
 * @property {number} seq 0: never noted
 * @property {number} mentions messages behind it that mention the user; at most 100 are counted
 *
 * @typedef {object} Joined
 * @property {string} room_id
 * @property {string} epoch
 * @property {number} last_seq
 * @property {boolean} recovered
 * @property {number} [last_change] the newest change; servers of before, which tell none, leave it out
 *
 * @typedef {object} HistoryPage
 * @property {ChatMessage[]} messages oldest first
 * @property {boolean} has_more
 * @property {string} epoch
 * @property {number} [last_change] all changes up to this one are in the messages
 *
 * @typedef {object} ErrorBody
 * @property {string} code a gRPC status name
 * @property {string} message
 * @property {boolean} retryable
 * @property {number} [retry_after_ms] how long to wait before that, where the server knows it
 *
 * @typedef {{kind: 'chat_message', requestId: string, body: ChatMessage}} MessageFrame
 * @typedef {{kind: 'joined', requestId: string, body: Joined}} JoinedFrame
 * @typedef {{kind: 'chat_history', requestId: string, body: HistoryPage}} HistoryFrame
 * @typedef {{kind: 'changes', requestId: string, body: RoomChanges}} ChangesFrame
 * @typedef {{kind: 'room_changes', requestId: string, body: ChangesPage}} ChangesPageFrame
 * @typedef {{kind: 'changed_message', requestId: string, body: {message: ChatMessage}}} ChangedFrame
 * @typedef {{kind: 'mark', requestId: string, body: Mark}} MarkFrame
 * @typedef {{kind: 'marked_read', requestId: string, body: {mark: Mark}}} MarkedFrame
 * @typedef {{id: string, name?: string, email?: string}} User
 * @typedef {{kind: 'users', requestId: string, body: {users?: User[]}}} UsersFrame
 * @typedef {{kind: 'room_presence', requestId: string, body: import('./here.js').RoomPresence}} PresenceFrame
 * @typedef {{kind: 'typists', requestId: string, body: import('./here.js').Typists}} TypistsFrame
 * @typedef {{kind: 'members', requestId: string, body: import('./members.js').MembersPage}} MembersFrame
 * @typedef {{kind: 'user' | 'upserted_user', requestId: string, body: {user: User}}} UserFrame
 * @typedef {{kind: 'error', requestId: string, body: ErrorBody}} ErrorFrame
 * @typedef {{kind: typeof PLAIN[number], requestId: string, body: object}} PlainFrame
 * @typedef {MessageFrame | JoinedFrame | HistoryFrame | ChangesFrame | ChangesPageFrame
 *   | ChangedFrame | UsersFrame | UserFrame | PresenceFrame | TypistsFrame | MembersFrame | MarkFrame | MarkedFrame | ErrorFrame | PlainFrame} ServerFrame
 */

/** Characters of a user's or a room's name. */
export const NAME_CHARACTERS = 64;

/** Bytes of UTF-8 in a reaction. */
export const EMOJI_BYTES = 32;

/** Bytes of UTF-8 in a message. */
export const CONTENT_BYTES = 16 * 1024;

/** Messages in a page of history; the server gives at most 500. */
export const PAGE_SIZE = 50;
export const PAGE_LIMIT = 500;

/**
 * What may be followed beside messages: all of it, and what servers of before knew, the newest first.
 *
 * @type {readonly (readonly string[])[]}
 */
export const FOLLOW = [['CHANGES', 'TYPING', 'PRESENCE'], ['CHANGES'], []];

/** Kinds whose content only the one who asked looks at. */
const PLAIN = /** @type {const} */ (['left', 'rooms', 'set_room', 'reactions']);

const KINDS = /** @type {const} */ ([
  'chat_message',
  'joined',
  'chat_history',
  'changes',
  'room_changes',
  'changed_message',
  'mark',
  'marked_read',
  'users',
  'user',
  'upserted_user',
  'room_presence',
  'typists',
  'members',
  'error',
  ...PLAIN,
]);

/**
 * Reads a text frame.
 *
 * @param {string} text
 * @returns {ServerFrame | null} null for bad frames, and for kinds this client never requests
 */
export function parseFrame(text) {
  const frame = parseObject(text);
  const kind = frame && KINDS.find((name) => isObject(frame[name]));
  if (!frame || !kind) return null;
  const requestId = typeof frame.request_id === 'string' ? frame.request_id : '';
  return /** @type {ServerFrame} */ ({ kind, requestId, body: frame[kind] });
}

/**
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Makes an id that no other message has: 128 random bits.
 * `crypto.randomUUID` would do, but exists on https and localhost only.
 *
 * @returns {string}
 */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Returns whether a server of before refused a join because it does not know what may be
 * followed: it names the first thing that it does not know.
 *
 * @param {ErrorBody} error
 */
export function knowsNoFollow({ code, message }) {
  if (code !== 'INVALID_ARGUMENT') return false;
  return /^join\.(follow|after_change|user_id): unknown field|^join\.follow(\[\d\])?: /.test(message);
}

/**
 * Returns whether a server of before does not know that some users can be asked for.
 *
 * @param {ErrorBody} error
 */
export function knowsNoField({ code, message }) {
  return code === 'INVALID_ARGUMENT' && /^list_users\.user_ids: unknown field/.test(message);
}
