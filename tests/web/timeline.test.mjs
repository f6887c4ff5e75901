import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createRoom } from '../../proxy/static/js/room.js';
import { GROUP_MS, timeline } from '../../proxy/static/js/timeline.js';
import { message, messages } from './support.mjs';

const NOON = new Date(2024, 0, 10, 12).getTime();
const DAY = 24 * 60 * 60 * 1000;

/** @param {[sender: string, at: number][]} list */
function roomWith(list) {
  const room = createRoom('lobby');
  room.messages = list.map(([sender, at], index) =>
    message(index + 1, { sender_id: sender, sent_at: new Date(at).toISOString() }),
  );
  return room;
}

function kinds(room) {
  return timeline(room, 'me').map((line) => (line.kind === 'message' ? line.message.seq : line.kind));
}

function opens(room) {
  return timeline(room, 'me').flatMap((line) => (line.kind === 'message' ? [line.opens] : []));
}

test('each day has a line above its first message', () => {
  const room = roomWith([['bob', NOON], ['bob', NOON + 1], ['bob', NOON + DAY], ['bob', NOON + DAY + 1]]);
  assert.deepEqual(kinds(room), ['day', 1, 2, 'day', 3, 4]);
});

test('a group ends with its sender, after a while, and with the day', () => {
  const late = NOON + GROUP_MS;
  const list = [['bob', NOON], ['bob', NOON + 1], ['eve', NOON + 2], ['eve', NOON + 3], ['eve', late + 3]];
  assert.deepEqual(opens(roomWith(list)), [true, false, true, false, true]);
  assert.deepEqual(opens(roomWith([['bob', NOON], ['bob', NOON + DAY]])), [true, true]);
});

test('the mark is drawn between what was read and what was not, and opens a group', () => {
  const room = roomWith([['bob', NOON], ['bob', NOON + 1], ['bob', NOON + 2]]);
  room.markSeq = 1;
  assert.deepEqual(kinds(room), ['day', 1, 'mark', 2, 3]);
  assert.deepEqual(opens(room), [true, true, false]);
});

test('there is no mark where its place is not loaded', () => {
  const room = createRoom('lobby');
  room.messages = messages(51, 60);
  room.markSeq = 20;
  room.hasOlder = true;
  assert.ok(!timeline(room, 'me').some(({ kind }) => kind === 'mark'));
  room.messages = messages(1, 10);
  room.markSeq = 0;
  room.hasOlder = false;
  assert.equal(timeline(room, 'me').filter(({ kind }) => kind === 'mark').length, 1);
});

test('a message keeps its key when it is confirmed', () => {
  const room = createRoom('lobby');
  const own = { id: 'a', room_id: 'lobby', sender_id: 'me', content: 'hi' };
  room.pending = [{ ...own, created: new Date(NOON).toISOString(), state: 'sending', error: '', inFlight: true }];
  const before = timeline(room, 'me').at(-1);
  room.pending = [];
  room.messages = [{ ...own, seq: 1, sent_at: new Date(NOON).toISOString() }];
  const after = timeline(room, 'me').at(-1);
  assert.equal(before.key, after.key);
  assert.deepEqual([before.state, before.own, after.state, after.own], ['sending', true, 'sent', true]);
});
