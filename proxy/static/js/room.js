/**
 * State of one room: its messages, the unsent ones, and the position read up to.
 * Pure: no network, no page, no clock.
 *
 * The rules:
 * - A position (`seq`) means something only together with its epoch. Another
 *   epoch is another history: the old state of the room is dropped.
 * - A room that was never viewed is not `loaded`: of its messages only the
 *   position of the newest is kept, which is enough to count the unread ones.
 * - A message that was sent from here stays in `pending` until the server's copy
 *   of it arrives, by whatever way: live, replayed, or in a page of history.
 * - Which messages are loaded is up to `history.js`, how they change to `states.js`,
 *   what is new to `reading.js`.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./payloads.js').HistoryRange} HistoryRange
 * @typedef {import('./protocol.js').Joined} Joined
 *
 * @typedef {object} Pending
 * @property {string} id
 * @property {string} room_id
 * @property {string} sender_id
 * @property {string} content
 * @property {string} created RFC 3339, by this device's clock
 * @property {'sending' | 'failed'} state
 * @property {string} error why it failed
 * @property {boolean} inFlight whether it went out on the open connection
 * @property {{reply_to?: number, mentions?: string[]} | null} extra
 *
 * @typedef {object} HistoryRequest
 * @property {'newest' | 'around' | 'older' | 'newer' | 'fill'} kind
 * @property {HistoryRange} range
 * @property {number} limit
 *
 * @typedef {object} Room
 * @property {string} id
 * @property {'idle' | 'joining' | 'joined' | 'refused'} phase
 * @property {string} error why joining was refused
 * @property {string} epoch
 * @property {string} title the name to show; empty if it has none
 * @property {string} topic
 * @property {number} infoChange the change that made these so
 * @property {number} lastSeq position of the room's newest message, as far as known
 * @property {number | null} readSeq position read up to; null before the first join
 * @property {number} liveSeq position of the newest message when the room was joined
 * @property {number | null} keptSeq the position before all was marked as read, while that may be undone;
 *   else null
 * @property {boolean} isFresh whether nothing is known of what was read before this visit
 * @property {number} seenSeq position up to which was read here; 0: nothing
 * @property {number | null} markedSeq position that the server has; null: not heard
 * @property {number} mentions unread messages that mention the user
 * @property {number | null} markSeq the line above new messages is drawn after it
 * @property {boolean} loaded
 * @property {boolean} recalled whether what is loaded was kept from an earlier visit: until the room is joined
 * @property {ChatMessage[]} messages ordered by `seq`, each once; a piece of the history
 * @property {boolean} hasOlder whether there are more before them
 * @property {boolean} hasNewer whether there are more behind them
 * @property {ChatMessage[]} coming what came live, behind what is loaded, since a page was asked for
 * @property {boolean} wantsOlder
 * @property {boolean} wantsNewer
 * @property {number | 'newest' | null} goal the place to load next, if another one
 * @property {number | null} lastChange all changes up to it are in `messages`; null: the server tells none
 * @property {number} newestChange the newest change heard of
 * @property {boolean} isPaging whether pages of changes are being read, and there are more
 * @property {Map<number, ChatMessage | null>} pins what is known of the pinned messages, by position
 * @property {string} changesRequest the request_id of the one under way; empty for none
 * @property {string} markRequest likewise
 * @property {(HistoryRequest & {requestId: string}) | null} request the one under way
 * @property {string} historyError why a page could not be loaded
 * @property {Pending[]} pending in the order of sending
 * @property {string} draft
 * @property {import('./changes.js').PendingChange[]} changes what the user did to messages, unconfirmed
 * @property {Set<string>} reacted how the user is known to have reacted: "position emoji"
 * @property {number} replyTo the message that is being answered; 0 for none
 * @property {number} follows what of `FOLLOW` was asked for when it was joined
 * @property {import('./here.js').Here} here who is there, and who types
 * @property {{seq: number, text: string} | null} editing the message that is being edited
 */

import { forgetChanges, recallChanges } from './changing.js';
import { nothingKnown } from './here.js';
import { startReading, resumeReading } from './reading.js';
import { startChanges } from './states.js';

/**
 * @param {string} id
 * @param {{epoch?: string, readSeq?: number | null, title?: string}} [saved] how far it was read before
 * @returns {Room}
 */
export function createRoom(id, saved = {}) {
  return {
    id,
    phase: 'idle',
    error: '',
    epoch: saved.epoch ?? '',
    title: saved.title ?? '',
    topic: '',
    infoChange: 0,
    lastSeq: saved.readSeq ?? 0,
    readSeq: saved.readSeq ?? null,
    liveSeq: 0,
    keptSeq: null,
    isFresh: false,
    seenSeq: 0,
    markedSeq: null,
    mentions: 0,
    markSeq: null,
    loaded: false,
    recalled: false,
    messages: [],
    hasOlder: false,
    hasNewer: false,
    coming: [],
    wantsOlder: false,
    wantsNewer: false,
    goal: null,
    lastChange: null,
    newestChange: 0,
    isPaging: false,
    pins: new Map(),
    changesRequest: '',
    markRequest: '',
    request: null,
    historyError: '',
    pending: [],
    draft: '',
    changes: [],
    reacted: new Set(),
    replyTo: 0,
    follows: 0,
    here: nothingKnown(),
    editing: null,
  };
}

/**
 * Takes the answer to a join, or the notice that the history was replaced.
 *
 * @param {Room} room
 * @param {Joined} joined
 */
export function applyJoined(room, joined) {
  const sameHistory = room.epoch === joined.epoch;
  room.phase = 'joined';
  room.error = '';
  // What was kept was only to be looked at.
  if (sameHistory && joined.recovered && !room.recalled) continueChanges(room, joined.last_change);
  else {
    forget(room);
    startChanges(room, joined.last_change);
  }
  // A link leads to a place in a room that was not known before.
  if (!sameHistory && room.epoch !== '') room.goal = null;
  if (sameHistory && room.readSeq !== null) resumeReading(room, joined.last_seq);
  else startHistory(room, joined.epoch, joined.last_seq);
}

/**
 * @param {Room} room
 * @param {number | undefined} newest the newest change; undefined if the server tells none
 */
function continueChanges(room, newest) {
  // What was loaded from a server that tells none may have changed since.
  if (newest === undefined) room.lastChange = null;
  else if (room.lastChange === null) Object.assign(room, { lastChange: 0, newestChange: newest });
}

/**
 * @param {Room} room
 * @param {string} epoch
 * @param {number} lastSeq
 */
export function startHistory(room, epoch, lastSeq) {
  room.epoch = epoch;
  room.infoChange = 0;
  startReading(room, lastSeq);
  forgetChanges(room);
}

/**
 * Drops what is loaded; one who reads in the middle of it is to find the place again.
 *
 * @param {Room} room
 */
export function forget(room) {
  const middle = room.messages[room.messages.length >> 1];
  if (middle) room.goal = room.hasNewer ? middle.seq : null;
  room.loaded = false;
  room.recalled = false;
  room.messages = [];
  room.newestChange = room.lastChange ?? 0;
  room.isPaging = false;
  room.changesRequest = '';
  room.hasOlder = false;
  room.hasNewer = false;
  room.coming = [];
  room.wantsOlder = false;
  room.wantsNewer = false;
  room.request = null;
  room.historyError = '';
}

/**
 * Takes the loss of the connection: pending answers will not come.
 *
 * @param {Room} room
 */
export function applyDisconnect(room) {
  room.phase = 'idle';
  if (!room.loaded) room.messages = [];
  room.here = nothingKnown();
  room.request = null;
  room.historyError = '';
  // What is missing is replayed.
  room.newestChange = room.lastChange ?? 0;
  room.isPaging = false;
  room.changesRequest = '';
  room.markedSeq = null;
  room.markRequest = '';
  room.pending = room.pending.map((pending) => ({ ...pending, inFlight: false }));
  recallChanges(room);
}
