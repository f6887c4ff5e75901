/** What was read last, kept for a page that is opened without a connection. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Area } from '../../proxy/static/js/area.js';
import { resumePosition } from '../../proxy/static/js/history.js';
import { Kept, LONGEST, MOST, ROOMS } from '../../proxy/static/js/kept.js';
import { unread } from '../../proxy/static/js/reading.js';
import { applyDisconnect, applyJoined } from '../../proxy/static/js/room.js';
import { Store } from '../../proxy/static/js/store.js';
import { hasEnded } from '../../proxy/static/js/token.js';
import { FakeStorage } from './storage.mjs';
import { message, messages, seqs } from './support.mjs';

const NOW = Date.UTC(2024, 0, 1, 14, 2);

/** A visit of the page, with the rooms that it had joined. */
function visit(storage, { ids = ['lobby'], reader = 'ada', epoch = 'e1' } = {}) {
  const store = new Store();
  store.become({ id: reader, name: reader, told: true }, true);
  for (const id of ids) store.addRoom(id, { epoch, readSeq: 58 });
  return { store, kept: new Kept(() => new Area(() => storage)), room: store.rooms.get(ids[0]) };
}

/** The same, where rooms were loaded and there is a connection. */
function online(storage, { loaded = messages(1, 60), ...rest } = {}) {
  const made = visit(storage, rest);
  made.store.link = { ...made.store.link, phase: 'open' };
  for (const room of made.store.rooms.values()) {
    const own = loaded.map((each) => ({ ...each, room_id: room.id }));
    Object.assign(room, { phase: 'joined', loaded: true, messages: own, lastSeq: 60 });
  }
  return made;
}

function keep(storage, options) {
  const { store, kept } = online(storage, options);
  kept.save(store, NOW);
}

describe('what was read last', () => {
  test('is shown without a connection, with the place and the names', () => {
    const storage = new FakeStorage();
    const before = online(storage);
    before.store.people.learn([{ id: 'bob', name: 'Robert' }], 0);
    before.kept.save(before.store, NOW);
    const { store, kept, room } = visit(storage);
    kept.recall(store);
    assert.deepEqual(room.messages, messages(11, 60));
    assert.equal(MOST, room.messages.length);
    assert.equal(room.hasOlder, true);
    assert.equal(unread(room), 2);
    assert.equal(room.markSeq, 58);
    assert.equal(store.lostAt, NOW);
    assert.equal(store.people.nameOf('bob'), 'Robert');
    assert.deepEqual(store.people.due(['bob'], 0), ['bob']); // it may have another name by now

    const later = visit(storage);
    later.store.people.recall([['bob', 'Rob']]);
    later.kept.recall(later.store);
    assert.equal(later.store.people.nameOf('bob'), 'Rob', 'as it was heard of last');
  });

  test('makes way for the room itself, at the place where reading stopped', () => {
    const storage = new FakeStorage();
    keep(storage);
    const { store, kept, room } = visit(storage);
    kept.recall(store);
    assert.equal(resumePosition(room), null);
    // A server that resumed all the same would not know of what the page had loaded.
    applyJoined(room, { room_id: 'lobby', epoch: 'e1', last_seq: 70, recovered: true, last_change: 5 });
    assert.deepEqual([room.loaded, room.messages, room.lastChange], [false, [], 5]);
    assert.deepEqual([room.readSeq, room.markSeq, unread(room)], [58, 58, 12]);
  });

  test('is not shown over what is loaded, nor stored anew', () => {
    const storage = new FakeStorage();
    keep(storage);
    const { store, kept, room } = online(storage, { loaded: messages(50, 61) });
    applyDisconnect(room);
    kept.recall(store);
    assert.equal(room.messages.length, 12);
    const other = visit(storage);
    other.kept.recall(other.store);
    other.store.link = { ...store.link, phase: 'open' };
    storage.listeners.add(({ key }) => assert.equal(key, 'chat.kept_at'));
    other.kept.save(other.store, NOW);
  });

  test('is changed when messages changed, and written no more often', () => {
    const storage = new FakeStorage();
    const { store, kept, room } = online(storage);
    const written = [];
    storage.listeners.add(({ key }) => written.push(key));
    kept.save(store, NOW);
    kept.save(store, NOW + 1);
    Object.assign(room, { lastChange: 7 });
    room.messages[59] = message(60, { content: '', extra: { state: { change: 7, deleted_at: room.messages[59].sent_at } } });
    kept.save(store, NOW + 2);
    assert.equal(written.filter((key) => key === 'chat.kept.lobby').length, 2);
    const { store: later, kept: again, room: shown } = visit(storage);
    again.recall(later);
    assert.deepEqual(shown.messages.at(-1), room.messages[59]);
  });

  for (const [what, options] of Object.entries({
    'another reader': { reader: 'eve' },
    'another history': { epoch: 'e2' },
    'another room': { ids: ['attic'] },
  })) {
    test(`is not for ${what}`, () => {
      const storage = new FakeStorage();
      keep(storage);
      const { store, kept, room } = visit(storage, options);
      kept.recall(store);
      assert.deepEqual([room.loaded, store.lostAt], [false, 0]);
    });
  }

  test('goes with the room, with the right to read it, and when it is forgotten', () => {
    const storage = new FakeStorage();
    keep(storage, { ids: ['lobby', 'attic', 'cellar', 'hall'] });
    const { store, kept } = visit(storage, { ids: ['lobby', 'attic', 'cellar'] });
    store.removeRoom('attic');
    store.rooms.get('cellar').phase = 'refused';
    kept.save(store, NOW);
    const left = () => Array.from({ length: storage.length }, (_, nth) => storage.key(nth)).sort();
    assert.deepEqual(left(), ['chat.kept.lobby', 'chat.kept_at']);
    kept.forget();
    assert.deepEqual(left(), ['chat.kept_at']);
  });

  test('is bounded: in rooms, in messages, and in characters', () => {
    const storage = new FakeStorage();
    const ids = Array.from({ length: ROOMS + 5 }, (_, nth) => `room ${nth}`);
    const long = messages(1, 60).map((each) => ({ ...each, content: 'x'.repeat(9_000) }));
    keep(storage, { ids: ids.slice(0, 15), loaded: long });
    keep(storage, { ids: ids.slice(0, 15) });
    const { store, kept } = online(storage, { ids, loaded: long });
    for (const id of ids.slice(0, 15)) store.rooms.get(id).phase = 'idle';
    kept.save(store, NOW);
    const rooms = new Area(() => storage).keys('chat.kept.');
    assert.equal(rooms.length, ROOMS);
    // Those that were loaded last, and some of the others.
    assert.ok(ids.slice(15).every((id) => rooms.includes(`chat.kept.${id}`)));
    const { messages: four } = JSON.parse(storage.getItem(`chat.kept.${ids.at(-1)}`));
    assert.deepEqual(seqs({ messages: four }), [57, 58, 59, 60]);
    assert.ok(JSON.stringify(four).length <= LONGEST);
  });

  test('is stored only where the end of the room is loaded, without a gap', () => {
    for (const odd of [{ hasNewer: true }, { loaded: false }, { messages: [] }, { messages: [message(1), message(3)] }]) {
      const storage = new FakeStorage();
      const { store, kept, room } = online(storage);
      Object.assign(room, odd);
      kept.save(store, NOW);
      assert.equal(storage.getItem('chat.kept.lobby'), null);
    }
  });

  test('may be anything, for others write there too', () => {
    const good = { reader: 'ada', epoch: 'e1', messages: messages(1, 2), names: [] };
    const change = (fields) => ({ ...good, messages: [message(1), message(2, fields)] });
    const bad = [
      null, 1, [], {}, { ...good, messages: [] }, { ...good, names: null }, { ...good, messages: [null] },
      { ...good, messages: [message(1), message(3)] }, change({ seq: '2' }), change({ content: 7 }),
      change({ sender_id: '\ud800' }), change({ sent_at: 'soon' }),
    ];
    for (const value of [...bad, 'no JSON']) {
      const storage = new FakeStorage();
      storage.setItem('chat.kept.lobby', value === 'no JSON' ? value : JSON.stringify(value));
      const { store, kept, room } = visit(storage);
      kept.recall(store);
      assert.equal(room.loaded, false, JSON.stringify(value));
    }
    const storage = new FakeStorage();
    const reactions = [{ emoji: '👍', count: 1, user_ids: ['bob'] }, { emoji: 1 }, null, { emoji: 'a', count: 1, user_ids: [1] }];
    const state = { change: 3, edited_at: 'never', deleted_at: 5, reactions, pinned: 'yes' };
    const odd = change({ extra: { reply_to: 'x', mentions: [1, 'ada'], data: {}, state } });
    storage.setItem('chat.kept.lobby', JSON.stringify(odd));
    const { store, kept, room } = visit(storage);
    kept.recall(store);
    const expected = { mentions: ['ada'], state: { change: 3, reactions: reactions.slice(0, 1) } };
    assert.deepEqual(room.messages[1].extra, expected);
  });
});

test('a token that has ended is told by its claim', () => {
  const token = (claims) => `e30.${btoa(JSON.stringify(claims)).replace(/=+$/, '')}.c2ln`;
  assert.equal(hasEnded(token({ sub: 'ada', exp: NOW / 1_000 }), NOW - 1), false);
  assert.equal(hasEnded(token({ sub: 'ada', exp: NOW / 1_000 }), NOW), true);
  assert.equal(hasEnded(token({ sub: 'ada' }), NOW), false);
  assert.equal(hasEnded('', NOW), false);
});
