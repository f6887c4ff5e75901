/** Who users are, and by which names they are shown. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';

import { newGuest } from '../../proxy/static/js/identity.js';
import { ASK_MS, LOOK_MS, Naming } from '../../proxy/static/js/naming.js';
import { appearance, BATCH, FRESH_MS, isGuest, MOST, People } from '../../proxy/static/js/people.js';
import { Store } from '../../proxy/static/js/store.js';
import { shownUsers } from '../../proxy/static/js/who.js';
import { message, mockTime, unmockTime } from './support.mjs';

const ADA = 'g-aaaaaaaaaaaaaaaaada2';
const EVE = 'g-aaaaaaaaaaaaaaaaeve3';

function knowing(...users) {
  const people = new People();
  people.learn(users.map(([id, name]) => ({ id, name })), 0);
  return people;
}

describe('a guest', () => {
  test('is somebody else each time, by an id that the server takes', () => {
    const ids = Array.from({ length: 50 }, () => newGuest('Ada').id);
    assert.equal(new Set(ids).size, 50);
    for (const id of ids) assert.ok(isGuest(id), id);
    assert.deepEqual(['ada', 'g-ada', `${ids[0]}x`, ids[0].toUpperCase()].map(isGuest), [false, false, false, false]);
  });
});

describe('names', () => {
  test('are shown for ids, and ids where there is none', () => {
    const people = knowing([ADA, 'Ada'], ['ben', '']);
    assert.deepEqual([ADA, 'ben', 'cleo'].map((id) => people.shown(id)), ['Ada', 'ben', 'cleo']);
    assert.match(people.shown(EVE), /^Guest ·eve3$/, 'nobody can read the id of a guest');
  });

  test('that are alike have signs: of one who takes the name of another, too', () => {
    const people = knowing([ADA, 'Ada'], [EVE, 'Ben']);
    const version = people.version;
    people.learn([{ id: EVE, name: 'Ada' }], 1);
    assert.ok(people.version > version, 'both are shown anew');
    assert.deepEqual([ADA, EVE].map((id) => people.shown(id)), ['Ada ·ada2', 'Ada ·eve3']);
    people.learn([{ id: EVE, name: 'Eve' }], 2);
    assert.deepEqual([ADA, EVE].map((id) => people.shown(id)), ['Ada', 'Eve']);
  });

  test('are alike if they look alike', () => {
    for (const name of ['ada', ' ADA', 'A\u200bda', '\u2066Ada\u2069', '\uff21da', 'Ada\u00a0', '\u3164Ada']) {
      assert.equal(appearance(name), 'ada', JSON.stringify(name));
    }
    for (const name of ['Adá', 'Ad a', 'Ade']) assert.notEqual(appearance(name), 'ada');
  });

  test('that are the id of somebody else have a sign, and the other has none', () => {
    const people = knowing(['ada', ''], [EVE, 'ada']);
    assert.deepEqual(['ada', EVE].map((id) => people.shown(id)), ['ada', 'ada ·eve3']);
  });

  test('cannot pretend to have a sign, and signs are as long as they have to be', () => {
    assert.equal(knowing([EVE, 'Ada ·ada2']).shown(EVE), 'Ada ·ada2 ·eve3');
    const people = knowing(['x-1-same', 'Ada'], ['x-2-same', 'Ada']);
    assert.deepEqual(['x-1-same', 'x-2-same'].map((id) => people.shown(id)), ['Ada ·1-same', 'Ada ·2-same']);
  });

  test('are asked for once, all together, and again when they are old', () => {
    const people = new People();
    for (const id of ['a', 'b', 'a']) people.shown(id);
    assert.deepEqual(people.due(['c'], 0), ['a', 'b', 'c']);
    people.shown('d');
    assert.deepEqual(people.due([], 1), [], 'one after the other');
    people.answered([{ id: 'a', name: 'Ada' }], 1);
    assert.deepEqual(people.due(['a', 'b', 'c'], 2), ['d'], 'whom nobody knows is not asked for again');
    people.answered([], 2);
    assert.deepEqual(people.due(['a'], FRESH_MS), []);
    assert.deepEqual(people.due(['a', 'e'], FRESH_MS + 1), ['a', 'e']);
    people.forgetAsked();
    assert.deepEqual(people.due(['a'], FRESH_MS + 1), ['a'], 'after a loss');
  });

  test('outlive the page, and are asked for anew', () => {
    const people = new People();
    people.recall(knowing([ADA, 'Ada'], ['ben', '']).kept());
    assert.equal(people.shown(ADA), 'Ada');
    assert.deepEqual(people.due([ADA, 'ben'], 0), [ADA, 'ben']);
  });

  test('have the colour that was chosen, or one by the id', () => {
    const people = new People();
    people.learn([{ id: 'ada', name: 'Ada', tone: 3 }, { id: 'ben', name: 'Ben' }], 0);
    const byId = people.toneOf('ben');
    assert.deepEqual([people.toneOf('ada'), people.chosenTone('ada'), people.chosenTone('ben')], [2, 3, 0]);
    const { version } = people;
    people.learn([{ id: 'ben', name: 'Ben', tone: 12 }], 1);
    assert.ok(people.version > version);
    assert.ok(people.toneOf('ben') < 8);
    people.learn([{ id: 'ben', name: 'Ben' }], 2);
    assert.equal(people.toneOf('ben'), byId);
    // What the page itself notes of the user says nothing of the colour.
    people.learn([{ id: 'ada', name: 'Lady Ada' }], Infinity);
    assert.equal(people.chosenTone('ada'), 3);
  });

  test('are bounded in number, also those asked for at once', () => {
    const people = new People();
    const ids = Array.from({ length: MOST + 1 }, (_, nth) => `u${nth}`);
    assert.equal(people.due(ids, 0).length, BATCH);
    people.forgetAsked();
    people.learn(ids.map((id) => ({ id, name: `n ${id}` })), 0);
    assert.equal(people.everybody().length, MOST);
    assert.deepEqual([people.holders('n u0'), people.holders('N U1')], [[], ['u1']]);
  });
});

describe('the conversation about names', () => {
  beforeEach(() => mockTime(mock));
  afterEach(() => unmockTime(mock));

  function talk(identity = { id: ADA, name: 'Ada', told: false }) {
    const store = new Store();
    store.become(identity, true);
    store.addRoom('lobby').messages.push(message(1, { sender_id: EVE }));
    store.select('lobby');
    const asked = [];
    const naming = new Naming(store, (payload, about) => asked.push({ payload, about }), () => shownUsers(store));
    naming.opened();
    naming.settle();
    const answer = (kind, body) => naming.take({ kind, requestId: '', body }, asked.shift().about);
    const refuse = (error) => naming.refused({ code: 'UNKNOWN', message: 'No.', retryable: false, ...error }, asked.shift().about);
    return { store, naming, asked, answer, refuse };
  }

  const NOBODY = { code: 'NOT_FOUND' };

  test("tells the server the user's name, once, and keeps the address that is there", () => {
    const { store, asked, answer, naming } = talk();
    answer('user', { user: { id: ADA, name: ADA, email: 'ada@example.org' } });
    assert.deepEqual(asked[0].payload.upsert_user, { user_id: ADA, name: 'Ada', email: 'ada@example.org' });
    assert.equal(store.isTold, false);
    answer('upserted_user', { user: { id: ADA, name: 'Ada' } });
    assert.equal(store.isTold, true);
    naming.settle();
    assert.deepEqual(asked, []);
  });

  test('takes a name that was given elsewhere, unless a newer one was given here', () => {
    const one = talk({ id: ADA, name: 'Ada', told: true });
    one.answer('user', { user: { id: ADA, name: 'Ada L.' } });
    assert.deepEqual([one.store.name, one.asked], ['Ada L.', []]);
    const other = talk();
    other.answer('user', { user: { id: ADA, name: 'Ada L.' } });
    assert.equal(other.asked[0].payload.upsert_user.name, 'Ada');
  });

  test('tells a server that lost its memory, and nothing of one who is shown by the id', () => {
    const one = talk({ id: ADA, name: 'Ada', told: true });
    one.refuse(NOBODY);
    assert.equal(one.asked[0].payload.upsert_user.name, 'Ada');
    const former = talk({ id: 'ada', name: 'ada', told: true });
    former.refuse(NOBODY);
    assert.deepEqual(former.asked, []);
  });

  test('tells a rename made offline when it can, and gives up one that is refused', () => {
    const { store, naming, asked, answer, refuse } = talk({ id: ADA, name: 'Ada', told: true });
    answer('user', { user: { id: ADA, name: 'Ada' } });
    naming.lost();
    store.rename('Lady Ada');
    naming.renamed();
    assert.deepEqual([asked, store.people.shown(ADA)], [[], 'Lady Ada']);
    naming.opened();
    naming.settle();
    answer('user', { user: { id: ADA, name: 'Ada' } });
    assert.equal(refuse({ message: 'name: not this one' }), 'Not this one.');
    assert.deepEqual([store.name, store.isTold], ['Ada', true]);
  });

  test('tries again a while after a refusal for now', () => {
    const { asked, refuse } = talk();
    assert.equal(refuse({ retryable: true }), '');
    assert.deepEqual(asked, []);
    mock.timers.tick(LOOK_MS);
    assert.deepEqual(asked[0].payload, { get_user: { user_id: ADA } });
  });

  test('asks for the names of others in view, and hears within a minute of new ones', () => {
    const { store, naming, asked, answer } = talk();
    asked.length = 0;
    naming.askNames();
    naming.askNames();
    assert.deepEqual(asked.map(({ payload }) => payload.list_users.user_ids), [[EVE]]);
    answer('users', { users: [{ id: EVE, name: 'Eve' }] });
    assert.equal(store.people.shown(EVE), 'Eve');
    let waited = 0;
    for (; asked.length === 0; waited += ASK_MS) mock.timers.tick(ASK_MS);
    assert.ok(waited < 60_000);
    answer('users', { users: [{ id: EVE, name: 'Ada' }] });
    assert.deepEqual([EVE, ADA].map((id) => store.people.shown(id)), ['Ada ·eve3', 'Ada ·ada2']);
  });

  test('asks soon again for the name of a guest who has just come, but not for ever', () => {
    const { store, naming, asked, answer } = talk();
    asked.length = 0;
    naming.askNames();
    answer('users', { users: [] });
    mock.timers.tick(2 * ASK_MS);
    assert.deepEqual(asked.map(({ payload }) => payload.list_users.user_ids), [[EVE]]);
    answer('users', { users: [{ id: EVE, name: 'Eve' }] });
    assert.equal(store.people.shown(EVE), 'Eve');

    const other = talk();
    other.asked.length = 0;
    other.naming.askNames();
    let count = 0;
    for (let waited = 0; waited < 120_000; waited += ASK_MS) {
      for (; other.asked.length > 0; count += 1) other.answer('users', { users: [] });
      mock.timers.tick(ASK_MS);
    }
    assert.ok(count > 3 && count < 15, String(count));
  });

  test('asks a server of before for a page of all', () => {
    const { naming, asked, refuse } = talk();
    asked.length = 0;
    naming.askNames();
    refuse({ code: 'INVALID_ARGUMENT', message: 'list_users.user_ids: unknown field' });
    mock.timers.tick(ASK_MS);
    assert.equal(asked[0].payload.list_users.user_ids, undefined);
  });
});
