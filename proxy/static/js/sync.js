/**
 * The conversation with the server. What is asked for is the difference between the store and its
 * desired state (`attending.js`). Every event leads to the same comparison, so that a lost
 * connection, a refusal or a replaced history needs no path of its own.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 * @typedef {import('./protocol.js').ErrorBody} ErrorBody
 * @typedef {import('./protocol.js').RoomChanges} RoomChanges
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./requests.js').Asked} Asked
 * @typedef {import('./room.js').Pending} Pending
 * @typedef {import('./room.js').Room} Room
 * @typedef {import('./store.js').Store} Store
 *
 * @typedef {object} Outlets
 * @property {(text: string) => boolean} send
 * @property {() => void} drop gives the connection up
 * @property {() => void} onChange the store changed
 * @property {(message: ChatMessage) => void} onNew a message came that was not there
 * @property {(message: ChatMessage) => void} onNews a message was just sent, to whatever room
 * @property {(changes: RoomChanges) => void} onChanged messages of a room changed
 * @property {() => boolean} [isSeen] whether the page is in view: names in one that is not grow old
 * @property {(reason: string, kind: Asked['kind']) => void} onRefused a change of a message was refused, or a
 *   name
 */

import { refuse, takeFrame, undo } from './answers.js';
import { Attending } from './attending.js';
import { wantAgain, wantChange } from './changing.js';
import { TOO_BIG } from './closes.js';
import { Company, TYPING } from './company.js';
import { sentenceOf } from './errors.js';
import { goTo } from './history.js';
import { wantMembers } from './members.js';
import { Naming } from './naming.js';
import { request } from './payloads.js';
import { newId, parseFrame } from './protocol.js';
import { lost, Requests } from './requests.js';
import { applyDisconnect } from './room.js';
import { contentBytes } from './rules.js';
import { t } from './texts.js';
import { Titles } from './titles.js';
import { shownUsers } from './who.js';

/** Time limit of an answer to a probe of the connection. */
export const PROBE_MS = 8_000;
const WATCH_MS = 1_000;

export class Sync {
  #store;
  #out;
  #attending;
  #requests;
  #isOpen = false;
  #naming;
  #company;
  #titles;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;

  /**
   * @param {Store} store
   * @param {Outlets} outlets
   * @param {{random?: () => number}} [options]
   */
  constructor(store, outlets, { random = Math.random } = {}) {
    this.#store = store;
    this.#out = outlets;
    this.#requests = new Requests(outlets.send);
    const ask = (/** @type {object} */ payload, /** @type {import('./requests.js').About} */ about) => this.#requests.ask(payload, about);
    this.#attending = new Attending(store, ask, () => this.settle(), random);
    this.#titles = new Titles(store, (payload) => this.fetch(payload));
    this.#naming = new Naming(store, ask, () => (outlets.isSeen?.() === false ? [] : shownUsers(store)));
    this.#company = new Company(store, ask, (payload) => outlets.send(JSON.stringify(payload)));
  }

  /** Takes a new connection. */
  opened() {
    this.#isOpen = true;
    this.#attending.opened();
    this.#watch = setInterval(() => this.#watchAnswers(), WATCH_MS);
    this.#naming.opened();
    this.#company.opened();
    this.#titles.opened();
    this.settle();
  }

  /**
   * Takes the loss of the connection.
   *
   * @param {number} code the close code
   */
  lost(code) {
    this.#isOpen = false;
    clearInterval(this.#watch);
    if (code === TOO_BIG) this.#failLargest();
    this.#requests.clear();
    this.#attending.lost();
    this.#naming.lost();
    this.#company.lost();
    this.#titles.lost();
    this.#store.rooms.forEach(applyDisconnect);
    this.#store.trouble = '';
    this.#out.onChange();
  }

  /** Sent repeatedly, an oversized message would close every connection. */
  #failLargest() {
    const edits = this.#store.changes().map((change) => ({ ...change, content: change.value }));
    const largest = [...this.#store.outbox(), ...edits]
      .filter((unsent) => unsent.inFlight)
      .sort((a, b) => contentBytes(b.content) - contentBytes(a.content))[0];
    if (!largest) return;
    const error = { code: 'INVALID_ARGUMENT', message: t('error.too_big'), retryable: false };
    const kind = 'kind' in largest ? 'change' : 'send';
    this.#refuse({ kind, roomId: largest.room_id, messageId: largest.id }, error);
  }

  /**
   * Sends a new message, now or as soon as there is a connection.
   *
   * @param {string} roomId
   * @param {string} content
   * @param {Pending['extra']} [extra]
   */
  send(roomId, content, extra = null) {
    this.#store.compose(roomId, newId(), content, new Date().toISOString(), extra);
    this.goTo(roomId, 'newest');
  }

  /**
   * Sends a failed message again, under the same id: it cannot come out twice.
   *
   * @param {string} roomId
   * @param {string} id
   */
  retry(roomId, id) {
    this.#store.amend(roomId, id, { state: 'sending', error: '', inFlight: false });
    this.settle();
  }

  /**
   * Changes a loaded message, now or as soon as there is a connection.
   *
   * @param {string} roomId
   * @param {number} seq
   * @param {import('./changes.js').ChangeKind} kind
   * @param {string} value
   */
  change(roomId, seq, kind, value) {
    const what = { id: newId(), user_id: this.#store.self, kind, value };
    this.#withRoom(roomId, (room) => wantChange(room, seq, what));
    this.settle();
  }

  /**
   * Sends the refused changes of a message again.
   *
   * @param {string} roomId
   * @param {number} seq
   */
  retryChanges(roomId, seq) {
    this.#withRoom(roomId, (room) => wantAgain(room, seq));
    this.settle();
  }

  /** Asks once for everybody that the server knows. */
  askPeople() {
    this.#naming.askEverybody();
  }

  /** Asks for the people of the room, whose list is open. */
  askMembers() {
    const { currentId } = this.#store;
    this.#store.members = wantMembers(currentId);
    this.settle();
  }

  /**
   * Asks who is in a room that is not joined yet.
   *
   * @param {string} roomId
   */
  peek(roomId) {
    this.#company.peek(roomId);
  }

  /** @param {string} text that the user writes in the current room, after a change */
  typed(text) {
    const { current: room } = this.#store;
    if (room && !room.editing) this.#company.typed(room, text);
  }

  /** Asks for the names that were shown and are missing or old. */
  askNames() {
    this.#naming.askNames();
  }

  /** @param {string} name the user's, from now on */
  rename(name) {
    this.#store.rename(name);
    this.#naming.renamed();
    this.settle();
  }

  /**
   * Takes the colour that the user chose.
   *
   * @param {number} tone 0 for none
   */
  setTone(tone) {
    this.#naming.recoloured(tone);
    this.settle();
  }

  /**
   * Makes a room that nobody has used, so that others find it.
   *
   * @param {string} roomId
   */
  makeRoom(roomId) {
    // Where it was set meanwhile, or that is not allowed, one is in it all the same.
    this.fetch({ set_room: { room: { id: roomId, title: roomId }, if_change: 0 } }).catch(() => {});
  }

  /** @param {string} roomId */
  leave(roomId) {
    this.#store.removeRoom(roomId);
    this.#attending.left(roomId);
    if (this.#isOpen) this.#requests.ask(request.leave(roomId), { kind: 'leave', roomId });
    this.settle();
  }

  /**
   * Asks for the page before the oldest loaded message.
   *
   * @param {string} roomId
   */
  loadOlder(roomId) {
    this.#withRoom(roomId, (room) => Object.assign(room, { wantsOlder: room.loaded, historyError: '' }));
    this.settle();
  }

  /**
   * Asks for the page behind the newest loaded message.
   *
   * @param {string} roomId
   */
  loadNewer(roomId) {
    this.#withRoom(roomId, (room) => Object.assign(room, { wantsNewer: true, historyError: '' }));
    this.settle();
  }

  /**
   * Loads what is around a position, unless it is loaded.
   *
   * @param {string} roomId
   * @param {number | 'newest'} goal
   */
  goTo(roomId, goal) {
    this.#withRoom(roomId, (room) => goTo(room, goal));
    this.settle();
  }

  /**
   * Joins again a room that was refused.
   *
   * @param {string} roomId
   */
  rejoin(roomId) {
    const room = this.#store.rooms.get(roomId);
    if (room?.phase !== 'refused') return;
    room.phase = 'idle';
    room.error = '';
    this.settle();
  }

  /** Finds out whether the connection is alive: after a sleep, or a change of network. */
  probe() {
    if (!this.#isOpen || !this.#store.self) return;
    this.#requests.ask(request.user(this.#store.self), { kind: 'probe' }, PROBE_MS);
  }

  /** Asks for everything missing. Call it after each change of the store. */
  settle() {
    if (this.#isOpen) {
      // Before the others see the user come in.
      this.#naming.settle();
      this.#attending.settle();
      this.#company.settle();
      void this.#titles.settle().then(() => this.#out.onChange());
    }
    this.#out.onChange();
  }

  /**
   * Asks for what only the caller looks at.
   *
   * @param {object} payload
   * @returns {Promise<any>} the body of the answer; rejected with an `ErrorBody`
   */
  fetch(payload) {
    if (!this.#isOpen) return Promise.reject(lost());
    return this.#requests.fetch(payload);
  }

  /**
   * Takes a frame of the server.
   *
   * @param {string} text
   */
  receive(text) {
    const frame = parseFrame(text);
    if (!frame) return;
    // It is no matter if nobody hears that one types.
    if (frame.kind === 'error' && frame.requestId === TYPING) return;
    const asked = this.#requests.take(frame);
    if (asked?.answer) return;
    if (asked && frame.kind !== 'error') this.#succeeded(asked);
    this.#take(frame, asked);
    this.settle();
  }

  /**
   * @param {ServerFrame} frame
   * @param {Asked | undefined} asked the request that it answers
   */
  #take(frame, asked) {
    if (frame.kind === 'error') this.#takeError(frame.body, asked);
    else if (asked && this.#naming.isOwn(asked)) this.#naming.take(frame, asked);
    else if (frame.kind === 'chat_message') {
      const isNews = this.#store.isNews(frame.body);
      if (this.#store.receive(frame.body)) this.#out.onNew(frame.body);
      if (isNews) this.#out.onNews(frame.body);
      this.#company.take(frame, asked);
    } else {
      takeFrame(this.#store, frame, asked);
      this.#company.take(frame, asked);
    }
    if (frame.kind === 'changes') this.#out.onChanged(frame.body);
  }

  /**
   * @param {string} roomId
   * @param {(room: Room) => void} change
   */
  #withRoom(roomId, change) {
    const room = this.#store.rooms.get(roomId);
    if (room) change(room);
  }

  /** @param {Asked} asked */
  #succeeded(asked) {
    this.#store.trouble = '';
    this.#attending.release(asked.roomId);
  }

  /**
   * @param {ErrorBody} error
   * @param {Asked | undefined} asked
   */
  #takeError(error, asked) {
    if (asked?.kind === 'probe' || asked?.kind === 'leave') return;
    if (asked && this.#company.isOwn(asked)) return this.#company.refused(asked);
    if (asked?.kind === 'mark') return this.#attending.refusedMark(error, asked);
    if (asked && this.#naming.isOwn(asked)) return this.#tellRefusal(this.#naming.refused(error, asked), asked.kind);
    if (asked && this.#attending.asksLess(asked, error)) return;
    if (!asked || error.retryable) this.#store.trouble = t('banner.kept', { problem: sentenceOf(error) });
    if (!asked) return;
    if (error.retryable) {
      undo(this.#store, asked);
      this.#attending.hold(asked.roomId, error.retry_after_ms);
    } else this.#refuse(asked, error);
  }

  /**
   * @param {Pick<Asked, 'kind' | 'roomId' | 'messageId'>} asked
   * @param {ErrorBody} error
   */
  #refuse(asked, error) {
    this.#tellRefusal(refuse(this.#store, asked, error), asked.kind);
  }

  /**
   * @param {string} reason empty for none
   * @param {Asked['kind']} kind
   */
  #tellRefusal(reason, kind) {
    if (reason) this.#out.onRefused(reason, kind);
  }

  #watchAnswers() {
    if (this.#requests.dead) {
      this.#out.drop();
      return;
    }
    const { slow } = this.#requests;
    const said = t('banner.slow');
    if (slow === (this.#store.trouble === said)) return;
    this.#store.trouble = slow ? said : '';
    this.#out.onChange();
  }
}
