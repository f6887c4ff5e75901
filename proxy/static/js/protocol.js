/**
 * The frames, limits and close codes of a chat connection, as the schema
 * (proto/chat.proto, `ClientFrame` and `ServerFrame`) defines them.
 *
 * @typedef {object} ChatMessage
 * @property {string} id sender's name for the message, its idempotency key
 * @property {string} room_id
 * @property {string} sender_id
 * @property {string} content
 * @property {number} seq position in the room, from 1, without gaps
 * @property {string} sent_at RFC 3339, when the server stored it
 *
 * @typedef {object} Joined
 * @property {string} room_id
 * @property {string} epoch
 * @property {number} last_seq
 * @property {boolean} recovered
 *
 * @typedef {object} HistoryPage
 * @property {ChatMessage[]} messages oldest first
 * @property {boolean} has_more
 * @property {string} epoch
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
 * @typedef {{kind: 'error', requestId: string, body: ErrorBody}} ErrorFrame
 * @typedef {{kind: 'left' | 'user', requestId: string, body: object}} PlainFrame
 * @typedef {MessageFrame | JoinedFrame | HistoryFrame | ErrorFrame | PlainFrame} ServerFrame
 *
 * @typedef {{before_seq?: number, after_seq?: number}} HistoryRange
 */

/** Characters of a user's or a room's name. */
export const NAME_CHARACTERS = 64;

/** Bytes of UTF-8 in a message. */
export const CONTENT_BYTES = 16 * 1024;

/** Messages in a page of history; the server gives at most 500. */
export const PAGE_SIZE = 50;
export const PAGE_LIMIT = 500;

const KINDS = /** @type {const} */ (['chat_message', 'joined', 'left', 'chat_history', 'user', 'error']);

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

/** The payloads that a client sends. */
export const request = {
  /** @param {{id: string, room_id: string, sender_id: string, content: string}} message */
  send: ({ id, room_id, sender_id, content }) => ({
    chat_message: { id, room_id, sender_id, content },
  }),

  /**
   * @param {string} roomId
   * @param {{after_seq: number, epoch: string} | null} position where to resume, if anywhere
   */
  join: (roomId, position) => ({ join: { room_id: roomId, ...position } }),

  /** @param {string} roomId */
  leave: (roomId) => ({ leave: { room_id: roomId } }),

  /**
   * @param {string} roomId
   * @param {HistoryRange} range
   * @param {number} limit
   */
  history: (roomId, range, limit) => ({
    get_chat_history: { room_id: roomId, limit, ...range },
  }),

  /** @param {string} userId */
  user: (userId) => ({ get_user: { user_id: userId } }),
};

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
 * Chooses the reaction to a close by its code.
 *
 * `soon`: the server restarts (RFC 6455 section 7.4.1, 1001). `never`: it would be
 * refused again (4500-4999). Everything else, 4000-4499 and a lost connection
 * (1006) included, is `later`: again, with backoff. A token that has expired (4010)
 * has to be replaced by the user first.
 *
 * @param {number} code
 * @returns {'soon' | 'later' | 'never'}
 */
export function afterClose(code) {
  if (code === 1001) return 'soon';
  return wantsToken(code) || (code >= 4500 && code <= 4999) ? 'never' : 'later';
}

/**
 * Makes a readable sentence of an error's text, which begins with the field's path.
 *
 * @param {ErrorBody} error
 * @returns {string}
 */
export function sentenceOf({ message }) {
  const text = message.replace(/^[\w.[\]]+: /, '').replace(/\.$/, '');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** The token of the connection has expired. */
export const TOKEN_EXPIRED = 4010;
/** The token is missing or invalid. */
export const BAD_TOKEN = 4501;

/**
 * Returns whether a connection was closed for lack of a valid token. Retrying with the
 * same one is useless, whatever the range of the code says.
 *
 * @param {number} code
 */
export function wantsToken(code) {
  return code === TOKEN_EXPIRED || code === BAD_TOKEN;
}

/** The close code of an oversized frame. */
export const TOO_BIG = 1009;
