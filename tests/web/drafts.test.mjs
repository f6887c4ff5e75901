/** What was begun and not sent: kept over reloads, by tabs that do not fight. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Area } from '../../proxy/static/js/area.js';
import { Drafts, LONGEST, MOST } from '../../proxy/static/js/drafts.js';
import { createRoom } from '../../proxy/static/js/room.js';
import { randomFrom } from './support.mjs';
import { FakeStorage } from './storage.mjs';

/** A tab in some rooms, the first of which is in view. */
function tab(storage, ids, { user = '', epoch = 'e1' } = {}) {
  const drafts = new Drafts(new Area(() => storage));
  const rooms = new Map(ids.map((id) => [id, createRoom(id, { epoch, readSeq: 0 })]));
  drafts.restore(rooms.values(), user);
  let writing = false;
  let stores = 0;
  storage.listeners.add((event) => {
    if (!writing) drafts.heard(event, rooms, { current: ids[0], user });
  });
  const save = (now = 1) => {
    writing = true;
    const before = storage.getItem(`chat.draft.${ids[0]}`);
    drafts.save(rooms.values(), user, now);
    stores += Number(storage.getItem(`chat.draft.${ids[0]}`) !== before);
    writing = false;
  };
  return {
    rooms,
    save,
    of: (id) => rooms.get(id).draft,
    stores: () => stores,
    type(id, text, now) {
      rooms.get(id).draft = text;
      save(now);
    },
  };
}

describe('drafts', () => {
  test('outlive the page, with what they answer and a half-done edit', () => {
    const storage = new FakeStorage();
    const one = tab(storage, ['lobby', 'ops']);
    Object.assign(one.rooms.get('lobby'), { draft: 'half', replyTo: 4 });
    one.rooms.get('ops').editing = { seq: 7, text: 'better' };
    one.save();
    const { rooms } = tab(storage, ['lobby', 'ops']);
    assert.deepEqual([rooms.get('lobby').draft, rooms.get('lobby').replyTo], ['half', 4]);
    assert.deepEqual(rooms.get('ops').editing, { seq: 7, text: 'better' });
    // In another history, positions mean other messages: the words stay.
    const other = tab(storage, ['lobby', 'ops'], { epoch: 'e2' }).rooms;
    assert.deepEqual([other.get('lobby').draft, other.get('lobby').replyTo], ['half', 0]);
    assert.deepEqual([other.get('ops').draft, other.get('ops').editing], ['better', null]);
    one.type('lobby', '');
    assert.equal(storage.getItem('chat.draft.lobby'), null);
  });

  test('are not shown to another user of this browser', () => {
    const storage = new FakeStorage();
    tab(storage, ['lobby'], { user: 'ada' }).type('lobby', 'secret');
    assert.equal(tab(storage, ['lobby'], { user: 'ben' }).of('lobby'), '');
    assert.equal(tab(storage, ['lobby'], { user: 'ada' }).of('lobby'), 'secret');
  });

  test('typed in one tab appear in the others, but not under the hand that types there', () => {
    const storage = new FakeStorage();
    const [one, two] = [tab(storage, ['lobby', 'ops']), tab(storage, ['ops', 'lobby'])];
    one.type('lobby', 'from one');
    assert.equal(two.of('lobby'), 'from one');
    one.type('ops', 'to the room in view');
    assert.equal(two.of('ops'), '');
    two.type('ops', 'typed in two');
    one.type('ops', 'typed in one');
    assert.deepEqual([one.of('ops'), two.of('ops')], ['typed in one', 'typed in two']);
  });

  test('that were sent in one tab are not sent again from another', () => {
    const storage = new FakeStorage();
    tab(storage, ['lobby']).type('lobby', 'hello');
    const [one, two] = [tab(storage, ['lobby']), tab(storage, ['lobby'])];
    one.type('lobby', '');
    assert.equal(two.of('lobby'), '');
    two.type('lobby', 'mine');
    one.type('lobby', 'other');
    one.type('lobby', '');
    two.save();
    assert.equal(two.of('lobby'), 'mine');
    assert.equal(tab(storage, ['lobby']).of('lobby'), 'mine');
  });

  test('of tabs that disagree are not stored in turns', () => {
    const storage = new FakeStorage();
    const tabs = [tab(storage, ['lobby']), tab(storage, ['lobby'])];
    tabs.forEach(({ type }, nth) => type('lobby', `text ${nth}`));
    for (let turn = 0; turn < 5; turn += 1) tabs.forEach(({ save }) => save());
    assert.deepEqual(tabs.map(({ stores }) => stores()), [1, 1]);
  });

  test('come back with a room that was left', () => {
    const storage = new FakeStorage();
    const drafts = new Drafts(new Area(() => storage));
    const room = createRoom('lobby');
    drafts.restore([room]);
    room.draft = 'kept';
    drafts.save([room]);
    const again = createRoom('lobby');
    drafts.restore([again]);
    assert.equal(again.draft, 'kept');
  });

  test('are bounded: the newest stay, without half a character at the end', () => {
    const storage = new FakeStorage();
    const ids = Array.from({ length: MOST + 5 }, (_, nth) => `room ${nth}`);
    const one = tab(storage, ids);
    ids.forEach((id, nth) => one.type(id, `x${'😀'.repeat(LONGEST)}`, nth));
    assert.equal(storage.length, MOST);
    const { of } = tab(storage, ids);
    assert.deepEqual([of('room 4'), of('room 5').length], ['', LONGEST - 1]);
  });

  test('may be anything in the storage', () => {
    const odd = [null, 7, 'x', [], {}, { text: 7 }, { text: '\ud800' }, { editing: { seq: -1 } }, { text: 'good', at: 'x' }];
    for (let seed = 0; seed < 50; seed += 1) {
      const random = randomFrom(seed);
      const storage = new FakeStorage();
      const value = odd[Math.floor(random() * odd.length)];
      storage.setItem('chat.draft.lobby', random() < 0.1 ? '{' : JSON.stringify(value));
      const one = tab(storage, ['lobby']);
      assert.ok(['', 'good'].includes(one.of('lobby')));
      one.type('lobby', 'new');
      assert.equal(tab(storage, ['lobby']).of('lobby'), 'new');
    }
  });
});
