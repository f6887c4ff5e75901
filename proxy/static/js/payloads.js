/**
 * What a client sends, as the schema (proto/chat.proto, `ClientFrame`) defines it.
 *
 * @typedef {{before_seq?: number, after_seq?: number}} HistoryRange
 * @typedef {{after_seq: number, epoch: string, after_change?: number}} Position
 */

import { PAGE_LIMIT } from './protocol.js';

/** People in a list of those of a room. */
const MEMBERS = 200;

/** The payloads that a client sends. */
export const request = {
  /** @param {import('./room.js').Pending} message */
  send: ({ id, room_id, sender_id, content, extra }) => ({
    chat_message: { id, room_id, sender_id, content, ...(extra && { extra }) },
  }),

  /** @param {import('./changes.js').PendingChange} change */
  change: ({ room_id, seq, user_id, kind, value, basis }) => ({
    change_message: { room_id, seq, user_id, ...whatHolds(kind, value, basis) },
  }),

  /**
   * @param {string} pageToken empty for the first page
   * @param {string[]} ids only these; empty for all
   */
  users: (pageToken, ids) => ({
    list_users: { page_size: PAGE_LIMIT, page_token: pageToken, ...(ids.length > 0 && { user_ids: ids }) },
  }),

  /**
   * @param {string} userId
   * @param {string} name
   * @param {string} email
   * @param {number} tone 0 for none
   */
  upsertUser: (userId, name, email, tone) => ({
    upsert_user: { user_id: userId, name, email, ...(tone > 0 && { tone }) },
  }),

  /**
   * @param {string} roomId
   * @param {Position | null} position where to resume, if anywhere
   * @param {string} userId the user whose marks are told, and who is there
   * @param {readonly string[]} follow what is told beside messages
   */
  join: (roomId, position, userId, follow) => {
    const { after_change, ...before } = position ?? {};
    // Servers of before, of which nothing can be followed, know none of the rest either.
    if (follow.length === 0) return { join: { room_id: roomId, ...before } };
    return { join: { room_id: roomId, ...position, follow, user_id: userId } };
  },

  /**
   * @param {string} roomId
   * @param {string} userId
   */
  typing: (roomId, userId) => ({ typing: { room_id: roomId, user_id: userId } }),

  /**
   * @param {string} roomId
   * @param {boolean} present whether only those who are there now
   */
  members: (roomId, present) => ({ list_members: { room_id: roomId, present, page_size: MEMBERS } }),

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

  /**
   * @param {string} roomId
   * @param {number} afterChange
   */
  changes: (roomId, afterChange) => ({
    get_changes: { room_id: roomId, after_change: afterChange, limit: PAGE_LIMIT },
  }),

  /**
   * @param {string} roomId
   * @param {string} userId
   * @param {{seq: number, epoch?: string}} position read up to; of `seq` 0 it only asks
   */
  markRead: (roomId, userId, position) => ({
    mark_read: { room_id: roomId, user_id: userId, ...position },
  }),

  /**
   * @param {string} roomId
   * @param {number} seq
   * @param {string} pageToken empty for the first page
   */
  reactions: (roomId, seq, pageToken) => ({
    list_reactions: { room_id: roomId, seq, page_size: PAGE_LIMIT, page_token: pageToken },
  }),

  /** @param {string} userId */
  user: (userId) => ({ get_user: { user_id: userId } }),
};

/**
 * @param {import('./changes.js').ChangeKind} kind
 * @param {string} value
 * @param {number} basis
 */
function whatHolds(kind, value, basis) {
  switch (kind) {
    case 'content':
      return { content: value, if_change: basis };
    case 'delete':
      return { delete: {} };
    case 'pinned':
      return { pinned: value === 'yes' };
    default:
      return { [kind]: value };
  }
}
