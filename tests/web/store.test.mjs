import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { restore, savedOf } from '../../proxy/static/js/carrying.js';
import { applyHistory, missingHistory } from '../../proxy/static/js/history.js';
import { unread } from '../../proxy/static/js/reading.js';
import { applyJoined } from '../../proxy/static/js/room.js';
import { Store } from '../../proxy/static/js/store.js';
import { look, message, messages, seqs } from './support.mjs';

function enter(store, id, last = 0) {
  const room = store.addRoom(id);
  applyJoined(room, { room_id: id, epoch: 'e1', last_seq: last, recovered: false });
  room.request = { ...missingHistory(room, true), requestId: 'r' };
  applyHistory(room, { messages: messages(1, last), has_more: false, epoch: 'e1' });
  return room;
}

function storeIn(...rooms) {
  const store = new Store();
  store.self = 'me';
  for (const id of rooms) enter(store, id);
  store.select(rooms[0]);
  look(store, true);
  return store;
}

function texts({ messages: sent, pending }) {
  return [...sent, ...pending].map(({ content }) => content);
}

describe("one's own messages", () => {
  const NOW = '2024-01-01T12:00:00Z';

  test('are there at once, below what is stored', () => {
    const store = storeIn('lobby');
    store.receive(message(1));
    store.compose('lobby', 'a', 'mine', NOW);
    store.receive(message(2));
    assert.deepEqual(texts(store.current), ['text 1', 'text 2', 'mine']);
    assert.equal(store.outbox()[0].state, 'sending');
  });

  test("give way to the server's copy, at its position", () => {
    const store = storeIn('lobby');
    store.compose('lobby', 'a', 'mine', NOW);
    store.compose('lobby', 'b', 'mine too', NOW);
    store.receive(message(1, { id: 'a', sender_id: 'me', content: 'mine' }));
    assert.deepEqual(texts(store.current), ['mine', 'mine too']);
    assert.deepEqual(store.outbox().map(({ id }) => id), ['b']);
  });

  test('are confirmed by a page of history as well, and by a repeated answer', () => {
    const store = storeIn('lobby');
    store.compose('lobby', 'a', 'mine', NOW);
    const own = message(1, { id: 'a', sender_id: 'me' });
    const room = store.current;
    applyJoined(room, { room_id: 'lobby', epoch: 'e2', last_seq: 1, recovered: false });
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    applyHistory(room, { messages: [own], has_more: false, epoch: 'e2' });
    assert.deepEqual(store.outbox(), []);
    assert.equal(store.receive(own), false);
    assert.deepEqual(seqs(room), [1]);
  });

  test("are not confirmed by somebody else's message of the same id", () => {
    const store = storeIn('lobby');
    store.compose('lobby', 'a', 'mine', NOW);
    store.receive(message(1, { id: 'a', sender_id: 'mallory' }));
    assert.equal(store.outbox().length, 1);
  });

  test('fail, are retried, are discarded', () => {
    const store = storeIn('lobby');
    store.compose('lobby', 'a', 'mine', NOW);
    store.amend('lobby', 'a', { state: 'failed', error: 'no' });
    assert.deepEqual([store.outbox()[0].state, store.outbox()[0].error], ['failed', 'no']);
    store.amend('lobby', 'a', { state: 'sending', error: '' });
    assert.equal(store.outbox()[0].state, 'sending');
    store.discard('lobby', 'a');
    assert.deepEqual(store.outbox(), []);
  });

  test('keep their sender when the name changes', () => {
    const store = storeIn('lobby');
    store.compose('lobby', 'a', 'mine', NOW);
    store.self = 'other';
    store.receive(message(1, { id: 'a', sender_id: 'me' }));
    assert.deepEqual(store.outbox(), []);
  });
});

describe('reading', () => {
  test('the newest message in view is read as it comes', () => {
    const store = storeIn('lobby');
    store.receive(message(1));
    assert.equal(store.unreadTotal, 0);
    look(store, false);
    store.receive(message(2));
    assert.equal(unread(store.current), 1);
    look(store, true);
    assert.equal(unread(store.current), 0);
  });

  test('messages of other rooms are counted, each in its room', () => {
    const store = storeIn('lobby', 'ops');
    for (const seq of [1, 2]) store.receive(message(seq, { room_id: 'ops' }));
    store.receive(message(1));
    assert.deepEqual([...store.rooms.values()].map(unread), [0, 2]);
    assert.equal(store.unreadTotal, 2);
  });

  test('a room that is not loaded counts too, and keeps none of them', () => {
    const store = storeIn('lobby');
    const room = store.addRoom('ops');
    applyJoined(room, { room_id: 'ops', epoch: 'e1', last_seq: 5, recovered: false });
    assert.equal(store.receive(message(6, { room_id: 'ops' })), false);
    assert.deepEqual([unread(room), seqs(room)], [1, []]);
  });

  test('the mark stands where reading stopped, until one leaves or writes', () => {
    const store = storeIn('lobby', 'ops');
    store.receive(message(1, { room_id: 'ops' }));
    store.receive(message(2, { room_id: 'ops' }));
    store.select('ops');
    look(store, true);
    assert.equal(store.current.markSeq, 0);
    store.compose('ops', 'a', 'hello', '2024-01-01T12:00:00Z');
    assert.equal(store.current.markSeq, null);
    look(store, false);
    store.receive(message(3, { room_id: 'ops' }));
    store.receive(message(4, { room_id: 'ops' }));
    assert.equal(store.current.markSeq, 2);
    store.select('lobby');
    assert.equal(store.rooms.get('ops').markSeq, null);
  });

  test('messages of a room one is not in are not taken', () => {
    const store = storeIn('lobby');
    assert.equal(store.receive(message(1, { room_id: 'elsewhere' })), false);
    assert.deepEqual([...store.rooms.keys()], ['lobby']);
  });
});

describe('rooms', () => {
  test('the neighbour takes over when one leaves', () => {
    const store = storeIn('a', 'b', 'c');
    store.select('b');
    store.removeRoom('b');
    assert.equal(store.currentId, 'c');
    store.removeRoom('c');
    assert.equal(store.currentId, 'a');
    store.removeRoom('a');
    assert.deepEqual([store.currentId, store.current], ['', undefined]);
  });

  test('leaving another room does not move one', () => {
    const store = storeIn('a', 'b');
    store.removeRoom('b');
    assert.equal(store.currentId, 'a');
  });

  test('neighbours end at both ends', () => {
    const store = storeIn('a', 'b');
    assert.deepEqual([store.neighbour(-1), store.neighbour(1)], ['', 'b']);
    store.select('b');
    assert.deepEqual([store.neighbour(-1), store.neighbour(1)], ['a', '']);
  });

  test('what is saved comes back, with what waits to be sent', () => {
    const store = storeIn('lobby', 'ops');
    store.receive(message(1));
    store.compose('ops', 'a', 'mine', '2024-01-01T12:00:00Z');
    store.amend('ops', 'a', { inFlight: true });
    const next = new Store();
    restore(next, JSON.parse(JSON.stringify(savedOf(store))), store.outbox());
    assert.deepEqual(savedOf(next), savedOf(store));
    assert.equal(next.currentId, 'lobby');
    assert.deepEqual(next.outbox().map(({ id, inFlight }) => [id, inFlight]), [['a', false]]);
  });
});
