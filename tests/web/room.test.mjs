import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  applyHistory,
  applyMessage,
  KEEP_LEAST,
  KEEP_MOST,
  missingHistory,
  resumePosition,
} from '../../proxy/static/js/history.js';
import { unread } from '../../proxy/static/js/reading.js';
import { applyDisconnect, applyJoined, createRoom } from '../../proxy/static/js/room.js';
import { message, messages, seqs } from './support.mjs';

function joined(last_seq, { epoch = 'e1', recovered = false } = {}) {
  return { room_id: 'lobby', epoch, last_seq, recovered };
}

function page(list, { epoch = 'e1', has_more = false } = {}) {
  return { messages: list, has_more, epoch };
}

/** Requests missing pages, as the conversation does, and answers them. */
function load(room, answer) {
  const missing = missingHistory(room, true);
  assert.ok(missing, 'nothing is missing');
  room.request = { ...missing, requestId: 'r' };
  applyHistory(room, answer);
}

function loadedRoom(first, last) {
  const room = createRoom('lobby');
  applyJoined(room, joined(last));
  load(room, page(messages(first, last), { has_more: first > 1 }));
  return room;
}

describe('history', () => {
  test('the newest page is asked for once the room is joined and looked at', () => {
    const room = createRoom('lobby');
    assert.equal(missingHistory(room, true), null);
    applyJoined(room, joined(7));
    assert.equal(missingHistory(room, false), null);
    assert.deepEqual(missingHistory(room, true), { kind: 'newest', range: {}, limit: 50 });
  });

  test('a page is merged with messages that came live while it was on its way', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(2));
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    assert.equal(applyMessage(room, message(4), 'me'), true);
    assert.equal(applyMessage(room, message(3), 'me'), true);
    applyHistory(room, page(messages(1, 3)));
    assert.deepEqual(seqs(room), [1, 2, 3, 4]);
  });

  test('older pages go on top until there are no more', () => {
    const room = loadedRoom(51, 100);
    assert.equal(missingHistory(room, true), null);
    room.wantsOlder = true;
    assert.deepEqual(missingHistory(room, true).range, { before_seq: 51 });
    load(room, page(messages(1, 50), { has_more: false }));
    assert.deepEqual(seqs(room), seqs({ messages: messages(1, 100) }));
    room.wantsOlder = true;
    assert.equal(missingHistory(room, true), null);
  });

  test('a page that brings nothing new ends the paging, whatever it promises', () => {
    const room = loadedRoom(51, 100);
    room.wantsOlder = true;
    load(room, page([], { has_more: true }));
    assert.equal(room.hasOlder, false);
  });

  test('an answer that nobody waits for changes nothing', () => {
    const room = loadedRoom(1, 3);
    applyHistory(room, page(messages(1, 9)));
    assert.deepEqual(seqs(room), [1, 2, 3]);
  });

  test('an empty room is loaded, and resumed from its start', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(0));
    load(room, page([]));
    assert.equal(room.loaded, true);
    assert.deepEqual(resumePosition(room), { after_seq: 0, epoch: 'e1' });
  });
});

describe('doubles and gaps', () => {
  test('a position is taken once, whatever brings it', () => {
    const room = loadedRoom(1, 3);
    assert.equal(applyMessage(room, message(3), 'me'), false);
    assert.equal(applyMessage(room, message(1), 'me'), false);
    assert.deepEqual(seqs(room), [1, 2, 3]);
  });

  test('messages are ordered by position, not by arrival', () => {
    const room = loadedRoom(1, 3);
    for (const seq of [6, 4, 5]) applyMessage(room, message(seq), 'me');
    assert.deepEqual(seqs(room), [1, 2, 3, 4, 5, 6]);
    assert.equal(missingHistory(room, true), null);
  });

  test('a gap is asked for, and resumption starts before it', () => {
    const room = loadedRoom(1, 3);
    applyMessage(room, message(8), 'me');
    assert.deepEqual(missingHistory(room, true), { kind: 'fill', range: { after_seq: 3 }, limit: 4 });
    assert.deepEqual(resumePosition(room), { after_seq: 3, epoch: 'e1' });
    load(room, page(messages(4, 7), { has_more: true }));
    assert.deepEqual(seqs(room), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.equal(resumePosition(room).after_seq, 8);
  });

  test('a gap that cannot be filled is told, and not asked for again and again', () => {
    const room = loadedRoom(1, 3);
    applyMessage(room, message(8), 'me');
    load(room, page([]));
    assert.notEqual(room.historyError, '');
    assert.equal(missingHistory(room, true), null);
  });

  test('an old message, answered again, tears no hole above what is loaded', () => {
    const room = loadedRoom(51, 100);
    assert.equal(applyMessage(room, message(20), 'me'), false);
    assert.equal(seqs(room)[0], 51);
  });

  test('nor while the newest page is on its way', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(100));
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    applyMessage(room, message(20), 'me');
    applyHistory(room, page(messages(51, 100), { has_more: true }));
    assert.equal(seqs(room)[0], 51);
    assert.equal(missingHistory(room, true), null);
  });
});

describe('resumption', () => {
  test('what is loaded stays when everything after it is replayed', () => {
    const room = loadedRoom(1, 3);
    applyDisconnect(room);
    assert.deepEqual(resumePosition(room), { after_seq: 3, epoch: 'e1' });
    applyJoined(room, joined(5, { recovered: true }));
    for (const seq of [4, 5]) applyMessage(room, message(seq), 'me');
    assert.deepEqual(seqs(room), [1, 2, 3, 4, 5]);
  });

  test('without a replay everything is loaded anew', () => {
    const room = loadedRoom(1, 3);
    applyDisconnect(room);
    applyJoined(room, joined(5));
    assert.deepEqual(seqs(room), []);
    assert.equal(missingHistory(room, true).kind, 'newest');
  });

  test('another epoch drops what is shown, also unasked', () => {
    const room = loadedRoom(1, 3);
    applyJoined(room, joined(1, { epoch: 'e2' }));
    assert.deepEqual([seqs(room), room.loaded, room.lastSeq, unread(room)], [[], false, 1, 0]);
    load(room, page([message(1)], { epoch: 'e2' }));
    assert.deepEqual(seqs(room), [1]);
  });

  test('a page of another epoch is not mixed in', () => {
    const room = loadedRoom(51, 100);
    room.wantsOlder = true;
    load(room, page(messages(1, 9), { epoch: 'e2' }));
    assert.deepEqual(seqs(room), []);
    load(room, page(messages(1, 9), { epoch: 'e2' }));
    assert.deepEqual([seqs(room).length, room.epoch], [9, 'e2']);
  });

  test('an answer to a question of before the loss is not taken', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(3));
    room.request = { ...missingHistory(room, true), requestId: 'r' };
    applyMessage(room, message(4), 'me');
    applyDisconnect(room);
    assert.deepEqual([room.phase, room.request, seqs(room)], ['idle', null, []]);
    assert.equal(resumePosition(room), null);
  });
});

describe('unread', () => {
  test('what is there at the first visit is not new; what comes after it is', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(10));
    assert.equal(unread(room), 0);
    applyMessage(room, message(11), 'me');
    assert.equal(unread(room), 1);
  });

  test('it goes on from where an earlier page stopped', () => {
    const room = createRoom('lobby', { epoch: 'e1', readSeq: 4 });
    applyJoined(room, joined(10));
    assert.equal(unread(room), 6);
  });

  test('but not under another epoch', () => {
    const room = createRoom('lobby', { epoch: 'e0', readSeq: 4 });
    applyJoined(room, joined(10));
    assert.equal(unread(room), 0);
  });

  test('whoever writes has read', () => {
    const room = createRoom('lobby');
    applyJoined(room, joined(1));
    applyMessage(room, message(2), 'me');
    applyMessage(room, message(3, { sender_id: 'me' }), 'me');
    assert.equal(unread(room), 0);
  });
});

test('a room that grew is cut to its newest messages, and older ones can be had again', () => {
  const room = loadedRoom(1, KEEP_MOST);
  assert.equal(room.messages.length, KEEP_MOST);
  applyMessage(room, message(KEEP_MOST + 1), 'me');
  assert.equal(room.messages.length, KEEP_LEAST);
  assert.equal(room.messages.at(-1).seq, KEEP_MOST + 1);
  assert.equal(room.hasOlder, true);
});
