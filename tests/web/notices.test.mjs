import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { asChoices, choose, levelOf, Pace, PACE_MS, tells } from '../../proxy/static/js/notices.js';
import { Store } from '../../proxy/static/js/store.js';
import { message } from './support.mjs';

const NONE = asChoices(null);
const MENTION = { extra: { mentions: ['me'] } };

describe('the user is told', () => {
  test('of mentions, of all, or of nothing, by room', () => {
    const all = choose(NONE, 'busy', 'all');
    const both = choose(all, 'quiet', 'nothing');
    assert.deepEqual(['busy', 'quiet', 'other'].map((id) => levelOf(both, id)), ['all', 'nothing', 'mentions']);
    assert.equal(tells(message(1), 'mentions', 'me'), false);
    assert.equal(tells({ ...message(1), ...MENTION }, 'mentions', 'me'), true);
    assert.equal(tells(message(1), 'all', 'me'), true);
    assert.equal(tells({ ...message(1), ...MENTION }, 'nothing', 'me'), false);
  });

  test('never of what they said', () => {
    assert.equal(tells({ ...message(1), sender_id: 'me', ...MENTION }, 'all', 'me'), false);
  });

  test('as before, once a choice is taken back', () => {
    const choices = choose(choose(NONE, 'busy', 'all'), 'busy', 'mentions');
    assert.deepEqual(choices.rooms, {});
  });

  test('of a busy room now and then', () => {
    const pace = new Pace();
    assert.deepEqual([0, 1, PACE_MS - 1, PACE_MS].map((at) => pace.take('busy', at)), [true, false, false, true]);
    assert.ok(pace.take('other', 1));
    pace.release('busy');
    assert.ok(pace.take('busy', PACE_MS + 1));
  });
});

test('choices that something else has stored are left out', () => {
  for (const value of [null, 7, 'x', [], { rooms: 3 }, { rooms: null }, { rooms: ['all'], sound: 1, isAsked: 'yes' }]) {
    const { rooms, sound, isAsked } = asChoices(value);
    assert.deepEqual([sound, isAsked], [false, false]);
    assert.ok(Object.values(rooms).every((level) => level === 'all'));
  }
  assert.deepEqual(asChoices({ rooms: { a: 'loud', b: 'nothing' } }).rooms, { b: 'nothing' });
  const odd = asChoices(JSON.parse('{"rooms": {"__proto__": "all", "constructor": "nothing"}}'));
  assert.equal(levelOf(odd, 'constructor'), 'nothing');
  assert.equal(levelOf(NONE, 'toString'), 'mentions');
});

test('only what has just been sent is news', () => {
  const store = new Store();
  const room = store.addRoom('lobby');
  Object.assign(room, { readSeq: 3, lastSeq: 5, liveSeq: 7 });
  const news = (seq) => store.isNews({ ...message(seq), room_id: 'lobby' });
  assert.deepEqual([5, 7, 8].map(news), [false, false, true]);
  assert.equal(store.isNews({ ...message(9), room_id: 'elsewhere' }), false);
});
