/** Who is in a room, who types, and the list of its people. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';

import { Company, TYPING } from '../../proxy/static/js/company.js';
import { applyPresence, applyTypists, HOLD_MS, LATE_MS, noteSent, nothingKnown, Pace, PACE_MS, typistsNow } from '../../proxy/static/js/here.js';
import { applyMembers, rowsOf, wantMembers } from '../../proxy/static/js/members.js';
import { applyDisconnect } from '../../proxy/static/js/room.js';
import { Store } from '../../proxy/static/js/store.js';
import { mockTime, unmockTime } from './support.mjs';

const told = (...ids) => ({ room_id: 'lobby', user_ids: ids, hold_ms: HOLD_MS });

describe('who types', () => {
  test('is known as long as the server says, and is not oneself', () => {
    const here = nothingKnown();
    applyTypists(here, { ...told('ada', 'me'), others: 2 }, 0);
    assert.deepEqual(typistsNow(here, 'me', HOLD_MS - 1), { ids: ['ada'], others: 2, until: HOLD_MS });
    assert.deepEqual(typistsNow(here, 'me', HOLD_MS).ids, []);
    applyTypists(here, told('ada'), HOLD_MS);
    applyTypists(here, { room_id: 'lobby' }, HOLD_MS + 1);
    assert.deepEqual(typistsNow(here, 'me', HOLD_MS + 1).ids, [], 'the last one ceased');
  });

  test('has ceased with a message, whatever is still told of before', () => {
    const here = nothingKnown();
    const now = (at) => typistsNow(here, 'me', at).ids;
    applyTypists(here, told('ada', 'ben'), 0);
    noteSent(here, 'ada', 100);
    assert.deepEqual(now(100), ['ben']);
    applyTypists(here, told('ada', 'ben'), 200);
    assert.deepEqual(now(200), ['ben'], 'was on its way');
    applyTypists(here, told('ada', 'ben', 'cleo'), LATE_MS + 200);
    assert.deepEqual(now(LATE_MS + 200), ['ben', 'cleo'], 'is told for another began');
    applyTypists(here, told('ada', 'ben', 'cleo'), LATE_MS + 300);
    assert.deepEqual(now(LATE_MS + 300), ['ada', 'ben', 'cleo'], 'is told again');
  });

  test('may begin anew at once after the server had forgotten it', () => {
    const here = nothingKnown();
    noteSent(here, 'ada', 0);
    applyTypists(here, told('ada'), 10);
    assert.deepEqual(typistsNow(here, 'me', 10).ids, ['ada']);
  });

  test('is told of oneself at most so often, while the text changes and is not empty', () => {
    const pace = new Pace();
    const takes = (text, at, room = 'lobby') => pace.takes(room, text, at);
    assert.deepEqual([takes(' ', 0), takes('a', 1), takes('ab', 2), takes('b', 3, 'ops')], [false, true, false, true]);
    assert.deepEqual([takes('ab', PACE_MS + 1), takes('abc', PACE_MS + 1), takes('', 3 * PACE_MS)], [false, true, false]);
    pace.clear();
    assert.equal(takes('abc', PACE_MS + 2), true, 'on a new connection');
  });
});

describe('the people of a room', () => {
  const page = (...ids) => ({ members: ids.map((user_id) => ({ user_id })) });
  const rows = (members, present) => rowsOf(members, present, 'me', (id) => id);
  const shown = (members, present) => rows(members, present).map(({ id, isHere }) => (isHere ? id : `(${id})`)).join(' ');

  test('are those who are there, oneself first, and those who were', () => {
    const members = wantMembers('lobby');
    applyMembers(members, page('ben', 'cleo', 'me'), false);
    assert.equal(shown(members, { count: 2, ids: ['cleo', 'me'] }), 'me cleo (ben)');
    assert.equal(shown(members, null), '(me) (ben) (cleo)', 'it is not said who is there if that is not known');
  });

  test('of a crowd are asked for', () => {
    const members = wantMembers('lobby');
    applyMembers(members, { ...page('zoe', 'me'), next_page_token: 'x' }, true);
    applyMembers(members, page('ada'), false);
    assert.equal(shown(members, { count: 300, ids: [] }), 'me zoe (ada)');
    assert.equal(members.hasMore, true);
  });
});

describe('the conversation about people', () => {
  beforeEach(() => mockTime(mock));
  afterEach(() => unmockTime(mock));

  function talk() {
    const store = new Store();
    store.become({ id: 'me', name: 'me', told: true }, true);
    const room = store.addRoom('lobby');
    room.phase = 'joined';
    store.select('lobby');
    const sent = [];
    const company = new Company(store, (payload, about) => sent.push({ ...payload, about }), (payload) => sent.push(payload));
    company.opened();
    const hear = (kind, body) => company.take({ kind, requestId: '', body: { room_id: 'lobby', ...body } });
    return { store, room, company, sent, hear };
  }

  test('tells that one types where somebody is told, and nowhere else', () => {
    const { room, company, sent, hear } = talk();
    company.typed(room, 'a');
    assert.deepEqual(sent, [], 'a server of before knows nothing of it');
    hear('room_presence', { count: 1, user_ids: ['me'] });
    company.typed(room, 'ab');
    assert.deepEqual(sent, [{ request_id: TYPING, typing: { room_id: 'lobby', user_id: 'me' } }]);
    company.lost();
    applyDisconnect(room);
    mock.timers.tick(PACE_MS);
    company.typed(room, 'abc');
    assert.equal(sent.length, 1);
    assert.equal(room.here.present, null, 'nobody knows who is there without a connection');
  });

  test('asks for people when their list is open, again after a loss, and for those of a crowd', () => {
    const { store, room, company, sent, hear } = talk();
    store.members = wantMembers('lobby');
    company.settle();
    company.settle();
    assert.deepEqual(sent.map(({ list_members: asked }) => asked.present), [false]);
    company.refused(sent[0].about);
    assert.equal(store.members.state, 'failed');
    company.lost();
    company.opened();
    hear('room_presence', { count: 300 });
    company.settle();
    assert.deepEqual(sent.slice(1).map(({ list_members: asked }) => asked.present), [false, true]);
    company.take({ kind: 'members', requestId: '', body: { members: [{ user_id: 'zoe' }] } }, sent[2].about);
    assert.deepEqual([store.members.state, store.members.here, room.here.present], ['ready', ['zoe'], { count: 300, ids: [] }]);
    assert.deepEqual(store.people.due([], 0), ['zoe'], 'the name is to be shown');
  });
});
