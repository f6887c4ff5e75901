/** Data that outlives the page, shared by several tabs. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Archive } from '../../proxy/static/js/archive.js';
import { restore, savedOf } from '../../proxy/static/js/carrying.js';
import { Drafts } from '../../proxy/static/js/drafts.js';
import { hashOf } from '../../proxy/static/js/location.js';
import { Store } from '../../proxy/static/js/store.js';
import { timeline } from '../../proxy/static/js/timeline.js';
import { Unsent } from '../../proxy/static/js/unsent.js';
import { FakeStorage } from './storage.mjs';
import { randomFrom } from './support.mjs';

/** A tab: a store restored from the storage that follows other tabs' changes. */
function tab(all, own = new FakeStorage()) {
  const archive = new Archive({ tab: () => own, all: () => all });
  const store = new Store();
  const identity = archive.loadIdentity();
  const { outbox, changes } = new Unsent(archive.tab, archive.all).load();
  restore(store, archive.loadSettings(), outbox, changes);
  if (identity) store.become(identity, true);
  let writing = false;
  all.listeners.add((event) => {
    if (writing) return; // a browser notifies the other tabs only
    const heard = archive.heardIdentity(event);
    if (heard?.id === store.self) store.adoptName(heard.name);
    const said = archive.heard(event);
    if (said?.room) store.adopt(said.room);
    else if (said) store.removeRoom(said.id);
  });
  return {
    own,
    store,
    ids: () => [...store.rooms.keys()],
    save() {
      writing = true;
      archive.saveSettings(savedOf(store));
      archive.saveIdentity(store.identity);
      writing = false;
    },
  };
}

function put(storage, key, value) {
  storage.setItem(key, typeof value === 'string' ? value : JSON.stringify(value));
}

function user(id, name = id) {
  return { id, name, told: true };
}

function join(store, id, epoch = 'e1', readSeq = 0) {
  Object.assign(store.addRoom(id), { epoch, readSeq, lastSeq: readSeq });
}

describe('several tabs', () => {
  test('keep the rooms that each of them joined', () => {
    const all = new FakeStorage();
    const [one, two] = [tab(all), tab(all)];
    join(one.store, 'alpha');
    join(two.store, 'beta');
    one.save();
    two.save();
    one.save();
    for (const { ids } of [one, two, tab(all)]) assert.deepEqual(ids().sort(), ['alpha', 'beta']);
  });

  test('leave a room together', () => {
    const all = new FakeStorage();
    const one = tab(all);
    join(one.store, 'alpha');
    join(one.store, 'beta');
    one.save();
    const two = tab(all);
    two.store.removeRoom('alpha');
    two.save();
    one.save();
    for (const { ids } of [one, two, tab(all)]) assert.deepEqual(ids(), ['beta']);
  });

  test('keep the position that was read the furthest, of the same history', () => {
    const all = new FakeStorage();
    const one = tab(all);
    join(one.store, 'alpha', 'e1', 10);
    one.save();
    const two = tab(all);
    two.store.rooms.get('alpha').readSeq = 30;
    two.save();
    one.store.rooms.get('alpha').readSeq = 20;
    one.save();
    assert.equal(tab(all).store.rooms.get('alpha').readSeq, 30);
    assert.equal(one.store.rooms.get('alpha').readSeq, 20);
    Object.assign(one.store.rooms.get('alpha'), { epoch: 'e2', readSeq: 3 });
    one.save();
    const { epoch, readSeq } = tab(all).store.rooms.get('alpha');
    assert.deepEqual([epoch, readSeq], ['e2', 3]);
  });

  test('have a user each, and a new one begins with the one chosen last', () => {
    const all = new FakeStorage();
    const [one, two] = [tab(all), tab(all)];
    one.store.become(user('ada'), true);
    one.save();
    two.store.become(user('ben'), true);
    two.save();
    one.store.rooms.clear();
    one.save();
    assert.equal(tab(all, one.own).store.self, 'ada');
    assert.equal(tab(all, two.own).store.self, 'ben');
    assert.equal(tab(all).store.self, 'ben');
  });

  test('of one user have one name: the one given last', () => {
    const all = new FakeStorage();
    const one = tab(all);
    one.store.become(user('g-1', 'Ada'), true);
    one.save();
    const [two, closed] = [tab(all), tab(all)];
    closed.save();
    two.store.rename('Ada L.');
    two.save();
    one.save();
    for (const { store } of [one, two, tab(all), tab(all, closed.own)]) {
      assert.deepEqual([store.self, store.name], ['g-1', 'Ada L.']);
    }
  });

  test('in any order of joining, leaving and saving end with the same rooms', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = randomFrom(seed);
      const all = new FakeStorage();
      const tabs = [tab(all), tab(all), tab(all)];
      const kept = new Set();
      for (let step = 0; step < 30; step += 1) {
        const { store, save } = tabs[Math.floor(random() * 3)];
        const id = `room-${Math.floor(random() * 5)}`;
        const leaves = store.rooms.has(id);
        if (leaves) store.removeRoom(id);
        else join(store, id);
        save();
        kept[leaves ? 'delete' : 'add'](id);
      }
      for (const { ids } of [...tabs, tab(all)]) assert.deepEqual(ids().sort(), [...kept].sort(), `seed ${seed}`);
    }
  });

  test('opened as somebody else keep to themselves', () => {
    const all = new FakeStorage();
    const own = new FakeStorage();
    const one = tab(all);
    one.store.become(user('ada'), true);
    join(one.store, 'alpha');
    one.save();
    const areas = { tab: () => own, all: () => all };
    const apart = new Archive(areas);
    apart.keepApart();
    assert.deepEqual(apart.loadSettings(), { current: '', rooms: [] });
    assert.equal(apart.loadIdentity(), null);
    apart.saveSettings({ current: 'beta', rooms: [{ id: 'beta', epoch: '', readSeq: null }] });
    apart.saveIdentity(user('ben'));
    assert.equal(new Archive(areas).loadIdentity().id, 'ben', 'after a reload');
    assert.deepEqual([tab(all).store.self, tab(all).ids()], ['ada', ['alpha']]);
  });
});

describe('what is found in the storage', () => {
  test('of an earlier version is taken over, in its order', () => {
    const all = new FakeStorage();
    const rooms = ['z', 'a', 'm'].map((id, nth) => ({ id, epoch: 'e', readSeq: nth }));
    put(all, 'chat.settings', { name: 'ada', current: 'a', rooms });
    const own = new FakeStorage();
    put(own, 'chat.name', 'ada');
    for (const { store, ids } of [tab(all), tab(all), tab(all, own)]) {
      assert.deepEqual([store.self, store.name, store.currentId, ids()], ['ada', 'ada', 'a', ['z', 'a', 'm']]);
      assert.equal(store.rooms.get('m').readSeq, 2);
    }
  });

  test('may be anything: the page starts, with what is good of it', () => {
    const half = '\ud83d';
    const odd = [
      null, 0, -1, 1.5, 1e300, 2 ** 32, '', 'x', half, '{', [], [null], {}, { id: 7 }, { id: half },
      { id: '' }, { id: 'x', epoch: half, readSeq: -1 }, { id: 'x', readSeq: 1e300 }, true,
    ];
    const pending = {
      id: 'i', room_id: 'lobby', sender_id: 'ada', content: 'hi', created: '2024-01-01T12:00:00Z', state: 'sending', error: '',
    };
    for (let seed = 0; seed < 500; seed += 1) {
      const random = randomFrom(seed);
      const draw = () => odd[Math.floor(random() * odd.length)];
      const [all, own] = [new FakeStorage(), new FakeStorage()];
      put(all, 'chat.settings', random() < 0.3 ? draw() : { name: draw(), current: draw(), rooms: [draw(), { id: 'lobby' }] });
      put(all, `chat.room.${String(draw())}`, draw());
      put(all, 'chat.room.good', { id: 'good', epoch: 'e', readSeq: 4, order: draw() });
      const broken = { ...pending, [Object.keys(pending)[Math.floor(random() * 7)]]: draw() };
      put(own, 'chat.outbox', random() < 0.3 ? draw() : [broken, draw(), pending]);
      put(own, 'chat.name', draw());
      for (const area of [all, own]) if (random() < 0.5) put(area, 'chat.identity', random() < 0.5 ? draw() : { id: draw(), name: draw(), told: draw() });
      put(all, 'chat.names', random() < 0.5 ? draw() : [draw(), [draw(), draw()], ['ben', 'Ben']]);
      const { store, ids } = tab(all, own);
      store.people.recall(new Archive({ tab: () => own, all: () => all }).loadNames());
      assert.equal(store.rooms.get('good').readSeq, 4, `seed ${seed}`);
      for (const id of ids()) hashOf(id);
      for (const room of store.rooms.values()) {
        for (const line of timeline(room, store.self)) {
          if (line.kind === 'message') line.at.toISOString();
        }
      }
      savedOf(store);
    }
  });

  test('does not matter where nothing may be stored, or no more', () => {
    const forbidden = () => {
      throw new Error('SecurityError');
    };
    const archive = new Archive({ tab: forbidden, all: forbidden });
    archive.saveSettings({ current: 'a', rooms: [{ id: 'a', epoch: '', readSeq: null }] });
    archive.keepApart();
    assert.deepEqual(archive.loadSettings().rooms.length, 1, 'it is remembered as long as the page lives');
    const full = new FakeStorage();
    full.setItem = forbidden;
    const { tab: area } = new Archive({ tab: () => full, all: () => full });
    new Unsent(area, area).save([], []);
    new Drafts(area).save([]);
  });
});
