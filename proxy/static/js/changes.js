/**
 * The outbox of changes: what the user did to messages that the server has not
 * confirmed. Pure: lists in, lists out.
 *
 * The rules:
 * - A change says what is to hold, so that to send it again is harmless. It is sent
 *   again until it is answered, over reconnects and reloads.
 * - Of two that contradict each other the later one holds: one that is not on its way
 *   is replaced. Of one message only one is on its way, for answers may overtake each other.
 * - An edit names the state that its writer saw (`if_change`). A message gets a new state by
 *   a reaction, too: as long as its text is the one that was seen, the edit goes on from there.
 * - A change belongs to an epoch: in another history the position means another message.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {'content' | 'delete' | 'react' | 'unreact' | 'pinned'} ChangeKind
 *
 * @typedef {object} PendingChange
 * @property {string} id this page's name for it
 * @property {string} room_id
 * @property {string} epoch
 * @property {number} seq the message
 * @property {string} user_id who changes it
 * @property {ChangeKind} kind
 * @property {string} value the text, or the emoji; 'yes' or 'no' for `pinned`; else empty
 * @property {number} basis of an edit: the change that made the message as its writer saw it
 * @property {string} edited of an edit: when that text was written, empty for the first text
 * @property {'sending' | 'failed'} state
 * @property {string} error why it failed
 * @property {boolean} stale whether it failed because the message had changed
 * @property {boolean} inFlight whether it went out on the open connection
 */

import { changeOf } from './messages.js';
import { emojiProblem } from './rules.js';
import { asText, isText } from './saved.js';

const KINDS = ['content', 'delete', 'react', 'unreact', 'pinned'];

/** @param {ChatMessage} message */
function editedOf(message) {
  return message.extra?.state?.edited_at ?? '';
}

/**
 * @param {ChatMessage} message as its changer sees it
 * @param {{id: string, epoch: string, user_id: string, kind: ChangeKind, value: string}} what
 * @returns {PendingChange}
 */
export function makeChange(message, what) {
  return {
    ...what,
    room_id: message.room_id,
    seq: message.seq,
    basis: changeOf(message),
    edited: editedOf(message),
    state: 'sending',
    error: '',
    stale: false,
    inFlight: false,
  };
}

/**
 * @param {PendingChange[]} changes
 * @param {PendingChange} change
 * @returns {PendingChange[]} without those that it replaces
 */
export function addChange(changes, change) {
  return [...changes.filter((other) => other.inFlight || !replaces(change, other)), change];
}

/**
 * @param {PendingChange} change
 * @param {PendingChange} other an earlier one
 */
function replaces(change, other) {
  if (change.seq !== other.seq) return false;
  return change.kind === 'delete' || slotOf(change) === slotOf(other);
}

/** @param {PendingChange} change */
function slotOf({ kind, value }) {
  if (kind === 'react' || kind === 'unreact') return `reaction ${value}`;
  return kind === 'pinned' ? 'pin' : 'text';
}

/**
 * @param {PendingChange[]} changes
 * @returns {PendingChange[]} those to send now: of each message the first, unless one is on its way
 */
export function dueChanges(changes) {
  const busy = new Set(changes.flatMap(({ inFlight, seq }) => (inFlight ? [seq] : [])));
  return changes.filter(({ state, seq }) => {
    if (state !== 'sending' || busy.has(seq)) return false;
    busy.add(seq);
    return true;
  });
}

/**
 * @param {PendingChange} change
 * @param {ChatMessage | undefined} message as it stands here, if it is loaded
 * @returns {PendingChange} as it goes out
 */
export function departing(change, message) {
  const same = message !== undefined && editedOf(message) === change.edited;
  const basis = same ? Math.max(change.basis, changeOf(message)) : change.basis;
  return { ...change, basis, inFlight: true };
}

/**
 * Takes the answer to a change. An edit that waited behind it goes on from there.
 *
 * @param {PendingChange[]} changes
 * @param {string} id
 * @param {ChatMessage} message the answer: as the message stands now
 * @returns {PendingChange[]}
 */
export function confirmChange(changes, id, message) {
  const done = changes.find((change) => change.id === id);
  if (!done) return changes;
  const rest = changes.filter((change) => change.id !== id);
  if (done.kind !== 'content') return rest;
  const seen = { basis: changeOf(message), edited: editedOf(message) };
  return rest.map((change) => (change.seq === done.seq ? { ...change, ...seen } : change));
}

/**
 * @param {PendingChange[]} changes
 * @param {string} id
 * @param {Partial<Pick<PendingChange, 'state' | 'error' | 'stale' | 'inFlight'>>} what
 * @returns {PendingChange[]}
 */
export function amendChange(changes, id, what) {
  return changes.map((change) => (change.id === id ? { ...change, ...what } : change));
}

/**
 * Sends the refused changes of a message again. Whoever wants an edit to hold that was
 * refused as stale has seen the other text by now.
 *
 * @param {PendingChange[]} changes
 * @param {number} seq
 * @param {ChatMessage | undefined} message as it stands here
 * @returns {PendingChange[]}
 */
export function retryChanges(changes, seq, message) {
  return changes.map((change) => {
    if (change.seq !== seq || change.state !== 'failed') return change;
    const seen = message ? { basis: changeOf(message), edited: editedOf(message) } : {};
    return { ...change, ...seen, state: 'sending', error: '', stale: false };
  });
}

/**
 * @param {PendingChange[]} changes
 * @param {number} seq
 * @returns {PendingChange[]} without the refused ones of a message
 */
export function discardChanges(changes, seq) {
  return changes.filter((change) => change.seq !== seq || change.state !== 'failed');
}

/**
 * Sends an edit again that a mere reaction made stale: its text is still the one that was seen.
 *
 * @param {PendingChange[]} changes
 * @param {(seq: number) => ChatMessage | undefined} find
 * @returns {PendingChange[]} the same list if there is none
 */
export function reviveChanges(changes, find) {
  const revives = (/** @type {PendingChange} */ { stale, seq, basis, edited }) => {
    const message = stale ? find(seq) : undefined;
    if (!message || message.extra?.state?.deleted_at) return false;
    return editedOf(message) === edited && changeOf(message) > basis;
  };
  if (!changes.some(revives)) return changes;
  return changes.map((change) =>
    revives(change) ? { ...change, state: 'sending', error: '', stale: false } : change,
  );
}

/**
 * @param {any} value from a browser's storage
 * @returns {PendingChange | null} null if it is no change that can be sent
 */
export function asChange(value) {
  const { id, room_id, epoch, user_id, kind, value: what, seq, basis, edited, state, error, stale } = value ?? {};
  const named = [id, room_id, epoch, user_id].every((text) => isText(text) && text);
  if (!named || !isText(what) || !KINDS.includes(kind) || !['sending', 'failed'].includes(state)) return null;
  if (!isPosition(seq) || seq === 0 || !isPosition(basis) || !isText(edited)) return null;
  if ((kind === 'react' || kind === 'unreact') && emojiProblem(what)) return null;
  if (kind === 'content' && what === '') return null;
  return {
    id, room_id, epoch, user_id, kind, seq, basis, edited, state,
    value: what, error: asText(error), stale: stale === true, inFlight: false,
  };
}

/** @param {unknown} value */
function isPosition(value) {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;
}
