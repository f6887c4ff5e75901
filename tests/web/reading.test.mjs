import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { applyHistory, applyMessage, goTo, KEEP_MOST, missingHistory } from '../../proxy/static/js/history.js';
import { applyMark, owesMark, readAll, see, unread } from '../../proxy/static/js/reading.js';
import { applyDisconnect, applyJoined, createRoom } from '../../proxy/static/js/room.js';
import { applyChanges } from '../../proxy/static/js/states.js';
import { Store } from '../../proxy/static/js/store.js';
import { look, message, messages, seqs } from './support.mjs';

const MENTION = { extra: { mentions: ['me'] } };

/** A room of `last` messages, read up to `readSeq` before this visit; null: never. */
function joinedRoom(last, readSeq, { recovered = false } = {}) {
  const room = createRoom('lobby', { epoch: readSeq === null ? '' : 'e1', readSeq });
  applyJoined(room, { room_id: 'lobby', epoch: 'e1', last_seq: last, recovered, last_change: 0 });
  return room;
}

function mark(seq, mentions = 0) {
  return { room_id: 'lobby', seq, mentions };
}

/** Answers requests for history until nothing is missing. */
function load(room, last) {
  for (let missing = missingHistory(room, true); missing; missing = missingHistory(room, true)) {
    const { after_seq: after, before_seq: before = last + 1 } = missing.range;
    const first = after === undefined ? Math.max(1, before - missing.limit) : after + 1;
    const end = Math.min(before - 1, first + missing.limit - 1);
    room.request = { ...missing, requestId: 'r' };
    const has_more = after === undefined ? first > 1 : end < last;
    applyHistory(room, { messages: messages(first, end), has_more, epoch: 'e1', last_change: 0 });
  }
}

describe('a room opens', () => {
  test('at its newest messages, if not much is new', () => {
    const room = joinedRoom(500, 480);
    load(room, 500);
    assert.deepEqual([room.markSeq, seqs(room).at(-1), room.hasNewer], [480, 500, false]);
  });

  test('where reading stopped, if much is new', () => {
    const room = joinedRoom(5000, 1000);
    load(room, 5000);
    assert.deepEqual([seqs(room)[0], seqs(room).at(-1)], [981, 1050]);
    assert.deepEqual([room.hasOlder, room.hasNewer, room.markSeq], [true, true, 1000]);
  });

  test('where another device stopped reading, also at the first visit', () => {
    for (const readSeq of [null, 300]) {
      const room = joinedRoom(5000, readSeq);
      room.markRequest = 'r';
      assert.equal(missingHistory(room, true), null, 'the mark is waited for');
      room.markRequest = '';
      applyMark(room, mark(1000, 2));
      assert.deepEqual([room.readSeq, room.markSeq, room.mentions], [1000, 1000, 2]);
      load(room, 5000);
      assert.ok(seqs(room).includes(1000));
    }
  });

  test('with nothing new at a first visit of somebody whom the server does not know', () => {
    const room = joinedRoom(5000, null);
    applyMark(room, mark(0));
    assert.deepEqual([unread(room), room.markSeq], [0, null]);
  });
});

describe('paging', () => {
  test('goes both ways, and never keeps more than the bound', () => {
    const room = joinedRoom(2000, 1000);
    load(room, 2000);
    const turn = (wish, until) => {
      for (let page = 0; page < 60 && !until(); page += 1) {
        room[wish] = true;
        load(room, 2000);
        assert.ok(room.messages.length <= KEEP_MOST);
        const [first, last] = [seqs(room)[0], seqs(room).at(-1)];
        assert.equal(last - first + 1, room.messages.length, 'without a hole');
        assert.deepEqual([room.hasOlder, room.hasNewer], [first > 1, last < 2000]);
      }
    };
    turn('wantsNewer', () => !room.hasNewer);
    assert.equal(seqs(room).at(-1), 2000);
    turn('wantsOlder', () => !room.hasOlder);
    assert.equal(seqs(room)[0], 1);
    goTo(room, 'newest');
    load(room, 2000);
    assert.deepEqual([seqs(room)[0], seqs(room).at(-1)], [1951, 2000]);
  });

  test('to the end finds what came live meanwhile', () => {
    const room = joinedRoom(500, 100);
    load(room, 500);
    assert.equal(applyMessage(room, message(501), 'me', false), false);
    assert.equal(unread(room), 401);
    goTo(room, 'newest');
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    applyHistory(room, { messages: messages(451, 500), has_more: true, epoch: 'e1', last_change: 0 });
    assert.equal(room.hasNewer, true);
    load(room, 501);
    assert.deepEqual([seqs(room).at(-1), room.hasNewer], [501, false]);
  });

  test('to the end gets there, however much comes on the way', () => {
    const room = joinedRoom(500, 100);
    load(room, 500);
    goTo(room, 'newest');
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    for (const seq of [501, 502, 503]) applyMessage(room, message(seq), 'me', false);
    applyHistory(room, { messages: messages(452, 501), has_more: true, epoch: 'e1', last_change: 0 });
    assert.deepEqual([seqs(room)[0], seqs(room).at(-1), room.hasNewer], [452, 503, false]);
  });

  test('to the end leaves out what changed on the way: it is loaded as it stands', () => {
    const room = joinedRoom(500, 100);
    load(room, 500);
    goTo(room, 'newest');
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    for (const seq of [501, 502, 503]) applyMessage(room, message(seq), 'me', false);
    const change = { seq: 502, content: 'b', state: { change: 1 } };
    applyChanges(room, { room_id: 'lobby', after_change: 0, last_change: 1, messages: [change] });
    applyHistory(room, { messages: messages(452, 501), has_more: true, epoch: 'e1', last_change: 1 });
    assert.deepEqual([seqs(room).at(-1), room.hasNewer], [501, true]);
  });

  test('stops where one reads above, however much comes', () => {
    const room = joinedRoom(10, 10);
    load(room, 10);
    for (let seq = 11; seq <= 400; seq += 1) applyMessage(room, message(seq), 'me', false);
    assert.deepEqual([room.messages.length, seqs(room)[0], room.hasNewer], [KEEP_MOST, 1, true]);
  });
});

describe('reading', () => {
  test('moves over what is in view, and not over what was left out', () => {
    const room = joinedRoom(60, 20);
    load(room, 60);
    see(room, 15, 30, 'me');
    assert.equal(room.readSeq, 30);
    see(room, 50, 60, 'me');
    assert.equal(room.readSeq, 30, '31 to 49 were not seen');
    see(room, 31, 49, 'me');
    assert.deepEqual([room.readSeq, owesMark(room), room.seenSeq], [49, true, 49]);
  });

  test('is done with all of it, which is told to nobody while it may be undone', () => {
    const room = joinedRoom(60, 20);
    load(room, 60);
    applyMark(room, { ...mark(20), mentions: 3 });
    see(room, 15, 30, 'me');
    const state = () => [room.readSeq, room.seenSeq, room.keptSeq, room.mentions, owesMark(room)];
    const before = state();
    const marked = readAll(room, 'me');
    assert.deepEqual(state(), [60, 30, 30, 0, false]);
    // What comes meanwhile and is in view is read, too; both come back.
    applyMessage(room, message(61), 'me', true);
    see(room, 61, 61, 'me');
    assert.deepEqual([room.readSeq, owesMark(room)], [61, false]);
    marked.undo();
    assert.deepEqual([room.readSeq, room.markSeq, unread(room)], [30, 20, 31]);
    assert.deepEqual([state(), state()[4]], [before, true], 'the server is told of no more than before');
    const again = readAll(room, 'me');
    again.end();
    marked.undo();
    again.undo();
    assert.deepEqual(state(), [61, 61, null, 0, true]);
    assert.equal(readAll(room, 'me'), null);
  });

  test('does not go back, whatever is told late', () => {
    const room = joinedRoom(60, 20);
    load(room, 60);
    for (const seq of [50, 30, 0]) applyMark(room, mark(seq));
    see(room, 1, 10, 'me');
    assert.deepEqual([room.readSeq, room.markedSeq, owesMark(room)], [50, 50, false]);
  });

  test('offline is told when there is a connection again', () => {
    const room = joinedRoom(60, 20);
    load(room, 60);
    applyMark(room, mark(20));
    applyDisconnect(room);
    see(room, 15, 40, 'me');
    applyJoined(room, { room_id: 'lobby', epoch: 'e1', last_seq: 60, recovered: true, last_change: 0 });
    applyMark(room, mark(25));
    assert.deepEqual([owesMark(room), room.seenSeq], [true, 40]);
  });

  test('of another history is forgotten', () => {
    const room = joinedRoom(60, 20);
    load(room, 60);
    see(room, 15, 40, 'me');
    applyJoined(room, { room_id: 'lobby', epoch: 'e2', last_seq: 3, recovered: false, last_change: 0 });
    assert.deepEqual([room.readSeq, room.seenSeq, room.markedSeq, room.mentions], [3, 0, null, 0]);
  });

  test('is not asked of a server of before', () => {
    const room = createRoom('lobby');
    applyJoined(room, { room_id: 'lobby', epoch: 'e1', last_seq: 9, recovered: false });
    assert.equal(owesMark(room), false);
  });
});

describe('mentions', () => {
  test('are counted as they come, and as they are read', () => {
    const room = joinedRoom(3, 3);
    load(room, 3);
    applyMessage(room, message(4, MENTION), 'me');
    applyMessage(room, message(5, { extra: { mentions_room: true } }), 'me');
    applyMessage(room, message(6, { extra: { mentions: ['eve'] } }), 'me');
    applyMessage(room, message(5, { extra: { mentions_room: true } }), 'me');
    assert.equal(room.mentions, 2);
    see(room, 1, 4, 'me');
    assert.equal(room.mentions, 1);
    applyMessage(room, message(7, { ...MENTION, sender_id: 'me' }), 'me');
    assert.deepEqual([room.mentions, unread(room)], [0, 0]);
  });

  test('that were read elsewhere do not count when they come', () => {
    const room = joinedRoom(3, 3);
    load(room, 3);
    applyMark(room, mark(4));
    applyMessage(room, message(4, MENTION), 'me');
    assert.deepEqual([room.mentions, unread(room)], [0, 0]);
  });

  test('that may be deleted are counted by the server again', () => {
    const store = new Store();
    store.self = 'me';
    const room = joinedRoom(3, 3);
    store.rooms.set('lobby', room);
    applyMark(room, mark(3));
    store.receive(message(4, MENTION));
    const deleted = { seq: 4, content: '', state: { change: 1, deleted_at: 'now' } };
    store.change({ room_id: 'lobby', after_change: 0, last_change: 1, messages: [deleted] });
    assert.equal(owesMark(room), true);
    store.mark(mark(3, 0));
    assert.deepEqual([room.mentions, unread(room)], [0, 1]);
  });
});

test('what was missed while one looked is read when it was in view, under the line', () => {
  const store = new Store();
  store.self = 'me';
  const room = joinedRoom(3, 3);
  store.rooms.set('lobby', room);
  store.select('lobby');
  load(room, 3);
  look(store, true);
  assert.equal(store.reading, true);
  store.receive(message(4));
  assert.deepEqual([unread(room), room.markSeq], [0, null], 'what comes live is read as it comes');
  applyDisconnect(room);
  applyJoined(room, { room_id: 'lobby', epoch: 'e1', last_seq: 6, recovered: true, last_change: 0 });
  for (const seq of [5, 6]) store.receive(message(seq));
  assert.deepEqual([unread(room), room.markSeq], [2, 4]);
  look(store, true);
  assert.deepEqual([unread(room), room.markSeq], [0, 4]);
});
