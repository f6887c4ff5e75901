/** The store, the conversation and the connection together, against the far end of a socket. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';

import { MARK_MS } from '../../proxy/static/js/attending.js';
import { CONNECT_MS, Connection, SOON_MS, STABLE_MS } from '../../proxy/static/js/connection.js';
import { DEAD_MS, SLOW_MS } from '../../proxy/static/js/requests.js';
import { Store } from '../../proxy/static/js/store.js';
import { Sync } from '../../proxy/static/js/sync.js';
import {
  look,
  message,
  messages,
  mockTime,
  ModelServer,
  randomFrom,
  seqs,
  Socket,
  unmockTime,
} from './support.mjs';

const ALWAYS_LONGEST = () => 1;
const FOLLOWED = { room_id: 'lobby', follow: ['CHANGES', 'TYPING', 'PRESENCE'], user_id: 'me' };

/** @param {(url: string) => Socket} openSocket */
function client(openSocket, random = ALWAYS_LONGEST) {
  const store = new Store();
  store.become({ id: 'me', name: 'me', told: true }, true);
  const connection = new Connection('ws://server/', {
    onOpen: () => sync.opened(),
    onText: (text) => sync.receive(text),
    onLost: (code) => sync.lost(code),
    onLink: (link) => (store.link = link),
  }, { openSocket, random });
  const outlets = {
    send: (text) => connection.send(text),
    drop: () => connection.drop(),
    onChange: () => {},
    onNew: (added) => news.push(added.seq),
    onNews: () => {},
    onChanged: () => {},
    onRefused: (reason) => refusals.push(reason),
  };
  const news = [];
  const refusals = [];
  const sync = new Sync(store, outlets, { random });
  return { store, connection, sync, news, refusals };
}

/** The server knows the user by the name that the page has. */
function answerName(socket) {
  socket.say({ request_id: socket.last('get_user').request_id, user: { user: { id: 'me', name: 'me' } } });
}

/** A client in the room `lobby`, which holds the messages 1 to `last`. */
function inRoom(last = 3, joined = {}) {
  const sockets = [];
  const parts = client(() => (sockets.push(new Socket()), sockets.at(-1)));
  const { store, connection, sync } = parts;
  connection.connect();
  sockets[0].accept();
  store.addRoom('lobby');
  store.select('lobby');
  sync.settle();
  answerJoin(sockets[0], last, joined);
  answerName(sockets[0]);
  const { request_id: requestId } = sockets[0].last('get_chat_history');
  const chat_history = { messages: messages(1, last), has_more: false, epoch: 'e1' };
  sockets[0].say({ request_id: requestId, chat_history });
  look(store, true);
  return { ...parts, sockets, room: store.current };
}

/** Without `last_change` as a server of before, that tells of messages alone. */
function answerJoin(socket, last_seq, { recovered = false, epoch = 'e1', last_change, mark = 0 } = {}) {
  const { request_id, join } = socket.last('join');
  socket.say({ request_id, joined: { room_id: join.room_id, epoch, last_seq, recovered, last_change } });
  const asked = socket.last('mark_read').request_id;
  const error = { code: 'UNIMPLEMENTED', message: 'the chat server is too old', retryable: false };
  const marked_read = { mark: { room_id: join.room_id, seq: mark, mentions: 0 } };
  socket.say({ request_id: asked, ...(last_change === undefined ? { error } : { marked_read }) });
  const listed = socket.last('list_rooms')?.request_id;
  if (listed) socket.say({ request_id: listed, ...(last_change === undefined ? { error } : { rooms: { rooms: [] } }) });
}

function refuse(socket, payload, { retryable, message: text = 'path: no' }) {
  const { request_id } = socket.last(payload);
  socket.say({ request_id, error: { code: 'UNAVAILABLE', message: text, retryable } });
}

function confirm(socket, seq) {
  const { request_id, chat_message } = socket.last('chat_message');
  socket.say({ request_id, chat_message: { ...message(seq), ...chat_message } });
}

/** @type {(ms: number) => void} */
let setClock;
beforeEach(() => (setClock = mockTime(mock)));
afterEach(() => unmockTime(mock));

describe('a connection', () => {
  test('waits longer after each failure, and not longer than half a minute', () => {
    const sockets = [];
    const { store, connection } = client(() => (sockets.push(new Socket()), sockets.at(-1)));
    connection.connect();
    const waits = Array.from({ length: 9 }, () => {
      sockets.at(-1).lose();
      const wait = store.link.retryAt - performance.now();
      mock.timers.tick(wait);
      return wait;
    });
    assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    assert.equal(sockets.length, 10);
  });

  test('starts from the shortest wait after it held for a while, and not before', () => {
    const { store, sockets } = inRoom();
    sockets[0].lose();
    mock.timers.tick(500);
    sockets[1].accept();
    sockets[1].lose();
    assert.equal(store.link.retryAt - performance.now(), 1000);
    mock.timers.tick(1000);
    sockets[2].accept();
    mock.timers.tick(STABLE_MS);
    sockets[2].lose();
    assert.equal(store.link.retryAt - performance.now(), 500);
  });

  test('comes back soon when the server announced a restart', () => {
    const { store, sockets } = inRoom();
    mock.timers.tick(STABLE_MS);
    sockets[0].lose(1001);
    assert.equal(store.link.retryAt - performance.now(), SOON_MS);
  });

  test('does not come back by itself when the server forbids it, but by hand', () => {
    const { store, sockets, connection } = inRoom();
    sockets[0].lose(4501, 'bad token');
    assert.deepEqual([store.link.phase, store.link.reason], ['ended', 'bad token']);
    mock.timers.tick(600_000);
    assert.equal(sockets.length, 1);
    connection.connect();
    assert.equal(sockets.length, 2);
  });

  test('that is never made is given up and tried again', () => {
    const sockets = [];
    const { connection } = client(() => (sockets.push(new Socket()), sockets.at(-1)));
    connection.connect();
    mock.timers.tick(CONNECT_MS);
    assert.equal(sockets[0].closed, true);
    mock.timers.tick(500);
    assert.equal(sockets.length, 2);
  });

  test('that does not answer is called slow, then taken for dead', () => {
    const { store, sync, sockets } = inRoom();
    sync.send('lobby', 'hello');
    mock.timers.tick(SLOW_MS + 1000);
    assert.match(store.trouble, /slow/);
    assert.equal(sockets[0].closed, false);
    mock.timers.tick(DEAD_MS);
    assert.equal(sockets[0].closed, true);
    assert.equal(store.outbox()[0].state, 'sending');
  });

  for (const hours of [-1, 2]) {
    test(`is judged by time that passed, also if the clock is set by ${hours} h`, () => {
      const { store, sync, sockets } = inRoom();
      sync.send('lobby', 'hello');
      mock.timers.tick(SLOW_MS - 1000);
      setClock(hours * 3_600_000);
      mock.timers.tick(1000);
      assert.deepEqual([store.trouble, sockets[0].closed], ['', false]);
      mock.timers.tick(1000);
      assert.match(store.trouble, /slow/);
      mock.timers.tick(DEAD_MS);
      assert.equal(sockets[0].closed, true);
    });
  }

  test('that answers after all is slow no more', () => {
    const { store, sync, sockets } = inRoom();
    sync.send('lobby', 'hello');
    mock.timers.tick(SLOW_MS + 1000);
    confirm(sockets[0], 4);
    assert.equal(store.trouble, '');
    mock.timers.tick(DEAD_MS * 2);
    assert.equal(sockets[0].closed, false);
  });
});

describe('after a loss', () => {
  function reconnect({ sockets }) {
    sockets.at(-1).lose();
    mock.timers.tick(500);
    sockets.at(-1).accept();
    return sockets.at(-1);
  }

  test('the room is resumed, then what is not confirmed goes out under the same id', () => {
    const parts = inRoom(3);
    parts.sync.send('lobby', 'one');
    parts.sync.send('lobby', 'two');
    const first = parts.sockets[0].sent.filter((frame) => frame.chat_message);
    const socket = reconnect(parts);
    assert.ok(socket.sent[0].get_user, 'others learn the name no later than that the user is back');
    assert.deepEqual(socket.sent[1].join, { ...FOLLOWED, after_seq: 3, epoch: 'e1' });
    const again = socket.sent.filter((frame) => frame.chat_message);
    assert.deepEqual(again.map((frame) => frame.chat_message), first.map((frame) => frame.chat_message));
  });

  test('what was written meanwhile goes out too', () => {
    const parts = inRoom(3);
    parts.sockets[0].lose();
    parts.sync.send('lobby', 'written offline');
    mock.timers.tick(500);
    parts.sockets[1].accept();
    assert.equal(parts.sockets[1].last('chat_message').chat_message.content, 'written offline');
    answerJoin(parts.sockets[1], 3, { recovered: true });
    confirm(parts.sockets[1], 4);
    assert.deepEqual([seqs(parts.room), parts.store.outbox()], [[1, 2, 3, 4], []]);
  });

  test('a replay and a repeated answer show each message once', () => {
    const parts = inRoom(3);
    parts.sync.send('lobby', 'stored, but the answer was lost');
    const { chat_message: own } = parts.sockets[0].last('chat_message');
    const socket = reconnect(parts);
    answerJoin(socket, 5, { recovered: true });
    socket.say({ chat_message: { ...message(4), ...own } });
    socket.say({ chat_message: message(5) });
    confirm(socket, 4);
    assert.deepEqual([seqs(parts.room), parts.store.outbox()], [[1, 2, 3, 4, 5], []]);
    assert.deepEqual(parts.news, [4, 5]);
  });

  test('a room that cannot be resumed is loaded again', () => {
    const parts = inRoom(3);
    const socket = reconnect(parts);
    answerJoin(socket, 2, { epoch: 'e2' });
    const { request_id } = socket.last('get_chat_history');
    socket.say({ request_id, chat_history: { messages: messages(1, 2), has_more: false, epoch: 'e2' } });
    assert.deepEqual([seqs(parts.room), parts.room.epoch], [[1, 2], 'e2']);
  });

  test('so is one whose replay breaks off', () => {
    const parts = inRoom(3);
    const socket = reconnect(parts);
    const joins = () => socket.sent.filter((frame) => frame.join).length;
    answerJoin(socket, 9, { recovered: true });
    refuse(socket, 'join', { retryable: true });
    mock.timers.tick(500);
    assert.equal(joins(), 2);
    assert.deepEqual(socket.last('join').join, { ...FOLLOWED, after_seq: 3, epoch: 'e1' });
  });

  test('a message that was too big for the server is not sent again by itself', () => {
    const { store, sync, sockets } = inRoom();
    sync.send('lobby', 'small');
    sync.send('lobby', 'large '.repeat(100));
    sockets[0].lose(1009);
    assert.deepEqual(store.outbox().map(({ state }) => state), ['sending', 'failed']);
  });
});

test('a history that is replaced while one looks at it is loaded again', () => {
  const { sockets, room } = inRoom(3);
  const joined = { room_id: 'lobby', epoch: 'e2', last_seq: 1, recovered: false };
  sockets[0].say({ joined });
  assert.deepEqual(seqs(room), []);
  const { request_id } = sockets[0].last('get_chat_history');
  sockets[0].say({ request_id, chat_history: { messages: [message(1)], has_more: false, epoch: 'e2' } });
  assert.deepEqual(seqs(room), [1]);
});

test('a page of the history that was replaced, and was on its way, is not taken', () => {
  const { sync, sockets, room } = inRoom(3);
  room.hasOlder = true;
  sync.loadOlder('lobby');
  const late = sockets[0].last('get_chat_history').request_id;
  sockets[0].say({ joined: { room_id: 'lobby', epoch: 'e2', last_seq: 1, recovered: false } });
  const page = { messages: messages(1, 9), has_more: false, epoch: 'e1' };
  sockets[0].say({ request_id: late, chat_history: page });
  assert.deepEqual([room.epoch, seqs(room)], ['e2', []]);
});

describe('a refusal', () => {
  test('for good leaves the message to be retried by hand, under the same id', () => {
    const { store, sync, sockets } = inRoom();
    sync.send('lobby', 'hello');
    refuse(sockets[0], 'chat_message', { retryable: false, message: 'chat_message.content: too rude' });
    const [failed] = store.outbox();
    assert.deepEqual([failed.state, failed.error], ['failed', 'Too rude.']);
    mock.timers.tick(60_000);
    const sends = () => sockets[0].sent.filter((frame) => frame.chat_message);
    assert.equal(sends().length, 1);
    sync.retry('lobby', failed.id);
    assert.deepEqual(sends()[1].chat_message, sends()[0].chat_message);
  });

  test('for now keeps the messages, and their order', () => {
    const { store, sync, sockets } = inRoom();
    sync.send('lobby', 'one');
    refuse(sockets[0], 'chat_message', { retryable: true, message: 'the server is away' });
    sync.send('lobby', 'two');
    assert.match(store.trouble, /The server is away\./);
    const contents = () => sockets[0].sent.flatMap((frame) => frame.chat_message?.content ?? []);
    assert.deepEqual(contents(), ['one']);
    mock.timers.tick(500);
    assert.deepEqual(contents(), ['one', 'one', 'two']);
    confirm(sockets[0], 4);
    assert.equal(store.trouble, '');
  });

  test('of a room is told in the room, and joining it again is up to the user', () => {
    const { store, sync, sockets } = inRoom();
    store.addRoom('private');
    sync.settle();
    refuse(sockets[0], 'join', { retryable: false, message: 'join.room_id: members only' });
    refuse(sockets[0], 'mark_read', { retryable: false });
    const room = store.rooms.get('private');
    assert.deepEqual([room.phase, room.error], ['refused', 'Members only.']);
    const count = sockets[0].sent.length;
    sync.send('private', 'hello?');
    mock.timers.tick(60_000);
    assert.equal(sockets[0].sent.filter((frame) => frame.chat_message).length, 0);
    sync.rejoin('private');
    assert.equal(sockets[0].sent.slice(count).find((frame) => frame.join).join.room_id, 'private');
    answerJoin(sockets[0], 0);
    assert.equal(room.error, '');
  });

  test('of older history can be tried again', () => {
    const { sync, sockets, room } = inRoom();
    room.hasOlder = true;
    sync.loadOlder('lobby');
    refuse(sockets[0], 'get_chat_history', { retryable: false, message: 'no' });
    assert.equal(room.historyError, 'No.');
    const count = sockets[0].sent.length;
    sync.loadOlder('lobby');
    assert.equal(sockets[0].sent.length, count + 1);
  });
});

describe('how far one has read', () => {
  const marks = ({ sockets }) => sockets.at(-1).sent.flatMap((frame) => frame.mark_read?.seq ?? []);

  function answerMark({ sockets }, seq, error) {
    const { request_id, mark_read } = sockets.at(-1).last('mark_read');
    const marked_read = { mark: { room_id: mark_read.room_id, seq, mentions: 0 } };
    sockets.at(-1).say({ request_id, ...(error ? { error } : { marked_read }) });
  }

  function beingRead(parts) {
    for (const seq of [4, 5, 6]) parts.sockets[0].say({ chat_message: message(seq) });
    parts.sync.settle();
  }

  test('is told at once, and then the newest at most once in a while', () => {
    const parts = inRoom(3, { last_change: 0 });
    parts.sync.settle();
    assert.deepEqual(marks(parts), [0, 3]);
    answerMark(parts, 3);
    beingRead(parts);
    assert.deepEqual(marks(parts), [0, 3]);
    mock.timers.tick(MARK_MS);
    assert.deepEqual(marks(parts), [0, 3, 6]);
    answerMark(parts, 6);
    mock.timers.tick(MARK_MS * 3);
    assert.deepEqual(marks(parts), [0, 3, 6]);
  });

  test('is told again after a refusal for now, and no more after one for good', () => {
    for (const [retryable, count] of [[true, 3], [false, 2]]) {
      const parts = inRoom(3, { last_change: 0 });
      parts.sync.settle();
      answerMark(parts, 0, { code: 'UNAVAILABLE', message: 'away', retryable });
      beingRead(parts);
      assert.equal(parts.store.trouble, '');
      mock.timers.tick(20_000);
      assert.equal(marks(parts).length, count);
    }
  });

  test('on another device moves the position here', () => {
    const parts = inRoom(3, { last_change: 0, mark: 1 });
    look(parts.store, false);
    for (const seq of [4, 5]) parts.sockets[0].say({ chat_message: message(seq) });
    assert.equal(parts.store.unreadTotal, 2);
    parts.sockets[0].say({ mark: { room_id: 'lobby', seq: 5, mentions: 0 } });
    assert.equal(parts.store.unreadTotal, 0);
  });

  test('is of a user: another one joins again, and asks', () => {
    const parts = inRoom(3, { last_change: 0 });
    parts.store.become({ id: 'other', name: 'other', told: true }, false);
    parts.sockets[0].lose();
    mock.timers.tick(500);
    parts.sockets[1].accept();
    const { join } = parts.sockets[1].last('join');
    assert.deepEqual([join.user_id, join.after_seq, join.after_change], ['other', 3, 0]);
    assert.deepEqual(parts.sockets[1].last('mark_read').mark_read, { room_id: 'lobby', user_id: 'other', seq: 0 });
  });
});

test('what comes after one left a room is not taken', () => {
  const { store, sync, sockets } = inRoom();
  sync.leave('lobby');
  assert.deepEqual(sockets[0].last('leave').leave, { room_id: 'lobby' });
  sockets[0].say({ chat_message: message(4) });
  assert.equal(store.rooms.size, 0);
});

describe('a change of a message', () => {
  const changed = (socket, state, fields = {}) => {
    const { request_id, change_message: asked } = socket.last('change_message');
    const answer = { ...message(asked.seq), ...fields, extra: { state } };
    socket.say({ request_id, changed_message: { message: answer } });
  };
  const count = (socket) => socket.sent.filter((frame) => 'change_message' in frame).length;

  test('goes out again after a loss, until it is answered', () => {
    const { room, sync, sockets } = inRoom(3, { last_change: 0 });
    sync.change('lobby', 2, 'content', 'new');
    sync.change('lobby', 2, 'content', 'newer');
    const wanted = { room_id: 'lobby', seq: 2, user_id: 'me', if_change: 0 };
    assert.deepEqual(sockets[0].sent.at(-1).change_message, { ...wanted, content: 'new' });
    sockets[0].lose();
    mock.timers.tick(500);
    sockets[1].accept();
    assert.equal(count(sockets[1]), 0, 'not before the history is known to be the same');
    answerJoin(sockets[1], 3, { recovered: true, last_change: 0 });
    assert.equal(count(sockets[1]), 1);
    changed(sockets[1], { change: 1, edited_at: 't1' }, { content: 'new' });
    assert.deepEqual(sockets[1].last('change_message').change_message, { ...wanted, if_change: 1, content: 'newer' });
    changed(sockets[1], { change: 2, edited_at: 't2' }, { content: 'newer' });
    assert.deepEqual([room.changes, room.messages[1].content, count(sockets[1])], [[], 'newer', 2]);
  });

  test('is dropped with the history that it belongs to', () => {
    const { room, sync, sockets } = inRoom(3, { last_change: 0 });
    sync.change('lobby', 2, 'delete', '');
    sockets[0].lose();
    mock.timers.tick(500);
    sockets[1].accept();
    answerJoin(sockets[1], 3, { epoch: 'e2', last_change: 0 });
    assert.deepEqual([room.changes, count(sockets[1])], [[], 0]);
  });

  test('waits where the server cannot serve now, and is told where it is refused', () => {
    const { room, sync, sockets, refusals } = inRoom(3, { last_change: 0 });
    sync.change('lobby', 2, 'react', '👍');
    refuse(sockets[0], 'change_message', { retryable: true });
    assert.deepEqual([room.changes[0].state, count(sockets[0])], ['sending', 1]);
    mock.timers.tick(10_000);
    assert.equal(count(sockets[0]), 2);
    refuse(sockets[0], 'change_message', { retryable: false });
    assert.deepEqual([room.changes[0].state, room.changes[0].error, refusals], ['failed', 'No.', ['No.']]);
    sync.retryChanges('lobby', 2);
    assert.equal(count(sockets[0]), 3);
  });

  test('does not go out to a server of before', () => {
    const { sync, sockets } = inRoom();
    sync.change('lobby', 2, 'react', '👍');
    assert.equal(count(sockets[0]), 0);
  });
});

describe('whatever happens to the connection', () => {
  const ROUNDS = 300;
  const STEPS = 120;

  /** Frames, losses, refusals, lost histories and waits, in an order that the seed decides. */
  function live(random, server, { store, sync }) {
    let written = 0;
    const actions = [
      [6, () => server.takeOne()],
      [6, () => server.deliverOne()],
      [3, () => server.chatter('chatter')],
      [3, () => sync.send('lobby', `own ${(written += 1)}`)],
      [2, () => server.link?.socket.onopen && store.link.phase === 'connecting' && server.link.socket.accept()],
      [2, () => mock.timers.tick(Math.floor(random() * 2000))],
      [1, () => server.lose([1001, 1006, 4008][Math.floor(random() * 3)])],
      [1, () => (server.refusing = !server.refusing)],
      [1, () => sync.loadOlder('lobby')],
      [2, () => server.change(random)],
      [1, () => sync.goTo('lobby', Math.ceil(random() * server.log.length) || 'newest')],
      [1, () => sync.loadNewer('lobby')],
      [2, () => look(store, random() < 0.5)],
      [0.2, () => server.wipe()],
    ];
    const total = actions.reduce((sum, [weight]) => sum + weight, 0);
    for (let step = 0; step < STEPS; step += 1) {
      let pick = random() * total;
      const [, act] = actions.find(([weight]) => (pick -= weight) < 0) ?? actions[0];
      act();
    }
    return written;
  }

  /** Time passes without further trouble. */
  function calm(server, { store, sync }) {
    server.refusing = false;
    for (let second = 0; second < 120; second += 1) {
      server.tell();
      look(store, true);
      if (second === 60) sync.goTo('lobby', 'newest');
      if (server.link && store.link.phase === 'connecting') server.link.socket.accept();
      while (server.takeOne() || server.deliverOne());
      mock.timers.tick(1000);
    }
  }

  test('nothing is lost, nothing is doubled, and the order is that of the server', () => {
    let most = 0;
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const random = randomFrom(seed);
      const server = new ModelServer({ tellsChanges: seed % 3 > 0 });
      for (let i = 0; i < random() * 120; i += 1) server.chatter('earlier');
      const parts = client(server.open, random);
      parts.store.addRoom('lobby');
      parts.store.select('lobby');
      parts.connection.connect();
      const written = live(random, server, parts);
      calm(server, parts);

      const { messages: shown, pending, historyError, lastChange, readSeq } = parts.store.current;
      const label = `seed ${seed}`;
      assert.deepEqual([pending, historyError], [[], ''], label);
      assert.equal(lastChange, server.tellsChanges ? server.changes : null, label);
      if (server.tellsChanges) assert.equal(server.marked, readSeq, label);
      assert.deepEqual(shown, server.log.slice(server.log.length - shown.length), label);
      assert.equal(shown.length > 0, server.log.length > 0, label);
      const own = server.log.filter(({ sender_id: sender }) => sender === 'me').map(({ id }) => id);
      assert.equal(new Set(own).size, own.length, label);
      if (server.epoch === 'epoch-0') assert.equal(own.length, written, label);
      most = Math.max(most, written);
      unmockTime(mock);
      mockTime(mock);
    }
    assert.ok(most > 10, 'the rounds had something to lose');
  });
});
