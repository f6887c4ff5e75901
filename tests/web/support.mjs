/** Shared by the tests of the web client: messages, pages, and a server that loses connections. */

/**
 * @param {number} seq
 * @param {Partial<import('../../proxy/static/js/protocol.js').ChatMessage>} [fields]
 */
export function message(seq, fields = {}) {
  return {
    id: `id-${seq}`,
    room_id: 'lobby',
    sender_id: 'bob',
    content: `text ${seq}`,
    seq,
    sent_at: new Date(Date.UTC(2024, 0, 1, 12, 0, seq)).toISOString(),
    ...fields,
  };
}

/**
 * @param {number} first
 * @param {number} last
 */
export function messages(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => message(first + index));
}

/** @param {{messages: {seq: number}[]}} room */
export function seqs(room) {
  return room.messages.map(({ seq }) => seq);
}

/**
 * Has all of the current room that is not read in view, down to the newest message, or nothing.
 *
 * @param {import('../../proxy/static/js/store.js').Store} store
 * @param {boolean} atEnd
 */
export function look(store, atEnd) {
  const { readSeq, messages: loaded } = store.current;
  const last = atEnd ? (loaded.at(-1)?.seq ?? 0) : 0;
  store.look({ first: Math.min((readSeq ?? 0) + 1, last || 1), last, atEnd }, atEnd);
}

/**
 * Numbers that look random and are the same in every run (mulberry32).
 *
 * @param {number} seed
 * @returns {() => number} from 0 up to 1
 */
export function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Mocks the timers of a test and both clocks, the wall clock and the steady one.
 *
 * @param {import('node:test').MockTracker} mock
 * @returns {(ms: number) => void} sets the wall clock forward, or back, while no time passes
 */
export function mockTime(mock) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  let set = 0;
  const steady = Date.now;
  const start = steady();
  mock.method(performance, 'now', () => steady() - start);
  mock.method(Date, 'now', () => steady() + set);
  return (ms) => {
    set += ms;
  };
}

/** Gives a test back the real time. */
export function unmockTime(mock) {
  mock.restoreAll();
  mock.timers.reset();
}

/** The far end of a WebSocket: the frames sent, and actions of the network and the server. */
export class Socket {
  sent = [];
  closed = false;

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  accept() {
    this.onopen();
  }

  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  lose(code = 1006, reason = '') {
    this.onclose({ code, reason });
  }

  /** @returns {any} the newest frame with this payload */
  last(payload) {
    return this.sent.findLast((frame) => payload in frame);
  }
}

/**
 * A chat server of one room that keeps the rules of the schema. Frames lie on the
 * line, in both directions, until they are delivered one by one; a lost connection
 * takes them with it.
 */
export class ModelServer {
  log = [];
  epoch = 'epoch-0';
  refusing = false;
  link = null;
  /** How many changes there were. */
  changes = 0;
  /** The change that last replaced the text, by position. */
  texts = new Map();
  /** How far the user has read. */
  marked = 0;
  turn = 0;

  /** @param {{tellsChanges?: boolean}} [options] false for a server of before */
  constructor({ tellsChanges = true } = {}) {
    this.tellsChanges = tellsChanges;
  }

  open = () => {
    const link = { up: [], down: [], late: [], joined: false, socket: new Socket() };
    link.socket.send = (text) => link.up.push(JSON.parse(text));
    this.link = link;
    return link.socket;
  };

  post(sender, content, id = `post-${this.log.length}-${this.epoch}`) {
    const known = this.log.find((stored) => stored.id === id && stored.sender_id === sender);
    if (known) return { stored: known, isNew: false };
    const stored = message(this.log.length + 1, { id, sender_id: sender, content });
    this.log.push(stored);
    return { stored, isNew: true };
  }

  /** A message of another user. */
  chatter(content) {
    const { stored } = this.post('bob', content);
    if (this.link?.joined) this.link.down.push({ chat_message: stored });
  }

  /** All history is lost. */
  wipe() {
    this.epoch = `epoch-${Number(this.epoch.slice(6)) + 1}`;
    this.log = [];
    this.changes = this.marked = 0;
    this.texts.clear();
    if (this.link?.joined) this.link.down.push({ joined: this.joined(false) });
  }

  /** Somebody edits, deletes or reacts to a message. */
  change(random) {
    const index = Math.floor(random() ** 0.5 * this.log.length);
    const stored = this.log[index];
    if (!stored || !this.tellsChanges || stored.extra?.state.deleted_at) return;
    const change = (this.changes += 1);
    const kind = ['edit', 'delete', 'react', 'react'][Math.floor(random() * 4)];
    const state = { ...stored.extra?.state, change, ...(kind === 'delete' && { deleted_at: 'now' }) };
    const content = kind === 'delete' ? '' : kind === 'edit' ? `edit ${change}` : stored.content;
    if (kind !== 'react') this.texts.set(stored.seq, change);
    this.log[index] = { ...stored, content, extra: { state } };
    // Live changes are told together now and then.
    if (random() < 0.5) this.tell();
  }

  /** Tells what changed since it was last told. */
  tell() {
    if (this.link?.told === undefined || this.link.told === this.changes) return;
    this.link.down.push({ changes: this.span(this.link.told, this.changes) });
    this.link.told = this.changes;
  }

  /** What changed behind a change; a live span leaves out the texts that did not. */
  span(after, last, { limit = Infinity, upTo = Infinity, isLive = true } = {}) {
    const changed = this.log.filter(({ seq, extra }) => extra && extra.state.change > after && seq <= upTo);
    changed.sort((a, b) => a.extra.state.change - b.extra.state.change);
    const messages = changed.slice(0, limit).map(({ seq, content, extra: { state } }) => ({
      seq,
      state,
      ...((this.texts.get(seq) ?? 0) > (isLive ? after : 0) && { content }),
    }));
    const end = changed.length > limit ? messages.at(-1).state.change : last;
    return { room_id: 'lobby', after_change: after, last_change: end, messages };
  }

  lose(code) {
    const { link } = this;
    this.link = null;
    link?.socket.lose(code);
  }

  /** @returns {boolean} whether there was a frame to take */
  takeOne() {
    const frame = this.link?.up.shift();
    if (frame) this.answer(frame);
    return frame !== undefined;
  }

  /** @returns {boolean} whether there was a frame to deliver */
  deliverOne() {
    const { link } = this;
    // Pages are read a while before they are told: what happens meanwhile overtakes them.
    this.turn += 1;
    if (link && (this.turn % 4 === 0 || link.down.length === 0)) link.down.push(...link.late.splice(0, 1));
    const frame = this.link?.down.shift();
    if (frame) this.link.socket.say(frame);
    return frame !== undefined;
  }

  answer({ request_id: requestId, ...payload }) {
    const [[kind, body]] = Object.entries(payload);
    if (this.refusing && kind !== 'leave') {
      this.reply(requestId, { error: { code: 'UNAVAILABLE', message: 'away', retryable: true } });
      return;
    }
    if (kind === 'join') this.join(requestId, body);
    else if (kind === 'chat_message') this.take(requestId, body);
    else if (kind === 'get_chat_history') {
      this.link.late.push({ request_id: requestId, chat_history: this.page(body) });
    } else if (!this.tellsChanges) this.reply(requestId, { error: refusal(`${kind}: unknown field`) });
    else if (kind === 'get_changes') this.replyChanges(requestId, body);
    else if (kind === 'mark_read') this.replyMark(requestId, body);
    else this.reply(requestId, { user: {} });
  }

  join(requestId, { after_seq: after, epoch, follow, after_change: afterChange }) {
    if (follow && !this.tellsChanges) {
      this.reply(requestId, { error: refusal('join.follow: unknown field') });
      return;
    }
    const recovered = after !== undefined && epoch === this.epoch && after <= this.log.length;
    this.reply(requestId, { joined: this.joined(recovered) });
    if (follow) this.link.told = this.changes;
    if (recovered && afterChange !== undefined) {
      this.link.down.push({ changes: this.span(afterChange, this.changes, { upTo: after, isLive: false }) });
    }
    const missed = recovered ? this.log.slice(after) : [];
    this.link.down.push(...missed.map((stored) => ({ chat_message: stored })));
    this.link.joined = true;
  }

  take(requestId, { id, sender_id: sender, content }) {
    const { stored } = this.post(sender, content, id);
    this.reply(requestId, { chat_message: stored });
    this.link.joined = true;
  }

  page({ limit, before_seq: before, after_seq: after }) {
    const { epoch, log } = this;
    const common = { epoch, ...(this.tellsChanges && { last_change: this.changes }) };
    if (after !== undefined) {
      const rest = log.slice(after);
      return { messages: rest.slice(0, limit), has_more: rest.length > limit, ...common };
    }
    const rest = log.slice(0, before === undefined ? log.length : before - 1);
    return { messages: rest.slice(-limit), has_more: rest.length > limit, ...common };
  }

  replyChanges(requestId, { after_change: after, limit }) {
    // Full pages are small here, so that there are some.
    const changes = this.span(after, this.changes, { limit: Math.min(limit, 2), isLive: false });
    const room_changes = { changes, has_more: changes.last_change < this.changes, epoch: this.epoch };
    this.reply(requestId, { room_changes });
  }

  replyMark(requestId, { seq, epoch }) {
    if (epoch !== undefined && epoch !== this.epoch) {
      this.reply(requestId, { error: { ...refusal('mark_read.epoch: is another'), code: 'FAILED_PRECONDITION' } });
      return;
    }
    this.marked = Math.max(this.marked, Math.min(seq, this.log.length));
    this.reply(requestId, { marked_read: { mark: { room_id: 'lobby', seq: this.marked, mentions: 0 } } });
  }

  joined(recovered) {
    const last_change = this.tellsChanges ? this.changes : undefined;
    return { room_id: 'lobby', epoch: this.epoch, last_seq: this.log.length, recovered, last_change };
  }

  reply(requestId, frame) {
    this.link.down.push({ request_id: requestId, ...frame });
  }
}

function refusal(message) {
  return { code: 'INVALID_ARGUMENT', message, retryable: false };
}
