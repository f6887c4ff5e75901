/**
 * The part of the conversation that is about the people of a room: who is there, who types, who was
 * there.
 *
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./requests.js').Asked} Asked
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 */

import { ticks } from './clock.js';
import { applyPresence, applyTypists, noteSent, Pace } from './here.js';
import { applyMembers } from './members.js';
import { request } from './payloads.js';

/** Typing has no answer: a refusal comes back under this name, and nobody misses it. */
export const TYPING = 'typing';

/** @type {Set<string>} */
const KINDS = new Set(['members', 'present']);

export class Company {
  #store;
  #ask;
  #tell;
  #isOpen = false;
  #pace = new Pace();

  /**
   * @param {Store} store
   * @param {(payload: object, about: {kind: Asked['kind'], roomId: string}) => void} ask
   * @param {(payload: object) => void} tell sends what has no answer
   */
  constructor(store, ask, tell) {
    this.#store = store;
    this.#ask = ask;
    this.#tell = tell;
  }

  /** Takes a new connection. */
  opened() {
    this.#isOpen = true;
    this.#pace.clear();
  }

  /** Takes the loss of the connection. */
  lost() {
    this.#isOpen = false;
    const { members } = this.#store;
    if (members) Object.assign(members, { wanted: true, state: members.state === 'loading' ? 'failed' : members.state });
  }

  /** Asks for the people of a room whose list is open. */
  settle() {
    const { members } = this.#store;
    const room = this.#store.rooms.get(members?.roomId ?? '');
    if (!this.#isOpen || !members?.wanted || room?.phase !== 'joined') return;
    members.wanted = false;
    if (members.state === 'failed') members.state = 'loading';
    this.#ask(request.members(room.id, false), { kind: 'members', roomId: room.id });
    const { present } = room.here;
    if (present && present.count > present.ids.length) this.peek(room.id);
  }

  /**
   * Asks who is in a room, for their names.
   *
   * @param {string} roomId
   */
  peek(roomId) {
    if (this.#isOpen && roomId) this.#ask(request.members(roomId, true), { kind: 'present', roomId });
  }

  /**
   * Takes a change of what the user writes in a room.
   *
   * @param {Room} room
   * @param {string} text
   */
  typed(room, text) {
    if (!this.#isOpen || room.phase !== 'joined' || room.here.present === null) return;
    if (!this.#pace.takes(room.id, text, ticks())) return;
    this.#tell({ request_id: TYPING, ...request.typing(room.id, this.#store.self) });
  }

  /**
   * @param {Asked | undefined} asked
   * @returns {boolean} whether an answer to it belongs here
   */
  isOwn(asked) {
    return asked !== undefined && KINDS.has(asked.kind);
  }

  /**
   * Takes what the server tells.
   *
   * @param {ServerFrame} frame
   * @param {Asked | undefined} asked
   */
  take(frame, asked) {
    if (frame.kind === 'members' && asked) this.#takeMembers(frame.body, asked);
    else if (frame.kind === 'room_presence' || frame.kind === 'typists' || frame.kind === 'chat_message') {
      const room = this.#store.rooms.get(frame.body.room_id);
      if (!room) return;
      if (frame.kind === 'room_presence') applyPresence(room.here, frame.body);
      else if (frame.kind === 'typists') applyTypists(room.here, frame.body, ticks());
      else noteSent(room.here, frame.body.sender_id, ticks());
    }
  }

  /** @param {Asked} asked which was refused */
  refused({ kind, roomId }) {
    const { members } = this.#store;
    if (kind === 'members' && members?.roomId === roomId) members.state = 'failed';
  }

  /**
   * @param {import('./members.js').MembersPage} page
   * @param {Asked} asked
   */
  #takeMembers(page, { kind, roomId }) {
    const { members, people } = this.#store;
    for (const { user_id: id } of page.members ?? []) people.nameOf(id);
    if (kind === 'present') this.#store.seenThere = { roomId, ids: (page.members ?? []).map(({ user_id: id }) => id) };
    if (members?.roomId === roomId) applyMembers(members, page, kind === 'present');
  }
}
