import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pinsOf } from '../../proxy/static/js/pins.js';
import { createRoom } from '../../proxy/static/js/room.js';
import { applyChanges, startChanges } from '../../proxy/static/js/states.js';
import { applyHistory } from '../../proxy/static/js/history.js';

const EPOCH = 'e';

/** @param {number} seq */
function message(seq, change = 0, pinned = false) {
  const extra = change ? { extra: { state: { change, pinned } } } : {};
  return { id: `m${seq}`, room_id: 'r', sender_id: 'ann', content: `text ${seq}`, seq, sent_at: '2026-01-01T00:00:00Z', epoch: EPOCH, ...extra };
}

/** @param {number} number */
function tell(room, number, seq, state) {
  const messages = [{ seq, state: { change: number, ...state } }];
  applyChanges(room, { room_id: 'r', epoch: EPOCH, after_change: number - 1, last_change: number, messages });
}

function load(room, kind, messages) {
  room.request = { kind, range: { after_seq: 1 }, limit: 50, requestId: 'q' };
  applyHistory(room, { room_id: 'r', epoch: EPOCH, messages, has_more: true, last_change: room.lastChange });
}

test('a pin is known after its message is no longer loaded, until it is taken off', () => {
  const room = createRoom('r', { epoch: EPOCH });
  startChanges(room, 3);
  load(room, 'around', [message(4), message(5, 2, true)]);
  load(room, 'newest', [message(90), message(91)]);
  assert.deepEqual(room.messages.map(({ seq }) => seq), [90, 91]);
  assert.deepEqual(pinsOf(room).map(({ seq, message: known }) => [seq, known?.content]), [[5, 'text 5']]);
  tell(room, 4, 5, { pinned: false });
  assert.deepEqual(pinsOf(room), []);
});

test('of a pin far back only its place is known, until it is loaded', () => {
  const room = createRoom('r', { epoch: EPOCH });
  startChanges(room, 3);
  load(room, 'newest', [message(90)]);
  tell(room, 4, 90, { pinned: true });
  tell(room, 5, 7, { pinned: true });
  assert.deepEqual(pinsOf(room).map(({ seq, message: known }) => [seq, known?.sender_id]), [[7, undefined], [90, 'ann']]);
  load(room, 'around', [message(7, 5, true)]);
  assert.equal(pinsOf(room)[0].message?.sender_id, 'ann');
  tell(room, 6, 90, { pinned: true, deleted_at: 't' });
  assert.deepEqual(pinsOf(room).map(({ seq }) => seq), [7]);
});

test('pins are forgotten with what is not known to hold', () => {
  const room = createRoom('r', { epoch: EPOCH });
  startChanges(room, 3);
  load(room, 'newest', [message(90, 2, true)]);
  startChanges(room, 9);
  assert.deepEqual(pinsOf(room), []);
});
