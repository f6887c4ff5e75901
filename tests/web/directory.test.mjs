/** Which rooms are offered, in which order, and when the server is asked for more. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';

import { Directory, find } from '../../proxy/static/js/directory.js';
import { Finder, LISTED_MS, TYPING_MS } from '../../proxy/static/js/finder.js';
import { offerOf } from '../../proxy/static/js/offering.js';
import { applyInfo, inOrder } from '../../proxy/static/js/info.js';
import { createRoom } from '../../proxy/static/js/room.js';
import { message, mockTime, unmockTime } from './support.mjs';

function choice(id, fields = {}) {
  return { id, title: '', topic: '', present: 0, at: 0, unread: 0, mentions: 0, joined: true, isCurrent: false, ...fields };
}

const idsOf = (choices) => choices.map(({ id }) => id);

describe('rooms to choose', () => {
  test('without a query are those with mentions, with news, and the latest; the current one last', () => {
    const choices = [
      choice('here', { isCurrent: true, unread: 9, at: 9 }),
      choice('old', { at: 1 }),
      choice('new', { at: 5 }),
      choice('unread', { unread: 3, at: 2 }),
      choice('mentioned', { mentions: 1, unread: 1, at: 1 }),
      choice('strange', { joined: false, at: 4 }),
    ];
    assert.deepEqual(idsOf(find(choices, ' ')), ['mentioned', 'unread', 'new', 'strange', 'old', 'here']);
    const counted = ['r10', 'r9', 'r1'].map((id) => choice(id));
    assert.deepEqual(idsOf(find(counted, 'r')), ['r1', 'r9', 'r10'], 'else as people count');
    const [first] = find(choices, '', { newFirst: true });
    assert.equal(first.id, 'strange');
  });

  test('fit by the whole name, its beginning, a word, a part, or the topic', () => {
    const choices = [
      choice('x', { topic: 'about Coürs' }),
      choice('discours'),
      choice('le-cours-3'),
      choice('COURS-2', { unread: 1 }),
      choice('c9', { title: 'Çours' }),
      choice('other'),
    ];
    assert.deepEqual(idsOf(find(choices, 'cours')), ['c9', 'COURS-2', 'le-cours-3', 'discours', 'x']);
    assert.deepEqual(find(choices, 'nothing like it'), []);
  });

  test('are those one is in, with what the server knows, and the others that it lists', () => {
    const room = createRoom('lobby', { epoch: 'e', readSeq: 2, title: 'The lobby' });
    Object.assign(room, { lastSeq: 5, mentions: 1 });
    const directory = new Directory();
    directory.take([
      { room: { id: 'lobby' }, last_message: message(5), present: 3 },
      { room: { id: 'ops', title: 'Ops', topic: 'now' }, last_seq: 7, mark: { seq: 4, mentions: 2 }, last_message: null, present: 0 },
    ]);
    const [lobby, ops] = directory.choices([room], 'lobby');
    const { unread, mentions, present, at, title, isCurrent, joined } = lobby;
    assert.deepEqual([unread, mentions, present, title, isCurrent, joined], [3, 1, 3, 'The lobby', true, true]);
    assert.equal(at, Date.parse(message(5).sent_at));
    assert.deepEqual([ops.unread, ops.mentions, ops.at, ops.title, ops.joined], [3, 2, 0, 'Ops', false]);
  });

  test('stand in the side bar by title, as people count', () => {
    const rooms = ['cours-10', 'cours-2', 'b'].map((id) => createRoom(id));
    applyInfo(rooms[2], { id: 'b', title: 'an exam', change: 3 });
    applyInfo(rooms[2], { id: 'b', title: 'older', change: 2 });
    assert.deepEqual(idsOf(inOrder(rooms)), ['b', 'cours-2', 'cours-10']);
    assert.equal(rooms[2].title, 'an exam');
  });
});

describe('the list', () => {
  const directory = new Directory();
  directory.take([{ room: { id: 'cours-3', title: 'Third course' }, present: 4 }]);
  const rooms = new Map([['lobby', createRoom('lobby')]]);
  const offer = (query, { phase = 'open', state = 'known', isSure = state === 'known', mode = 'join' } = {}) =>
    offerOf({ rooms, currentId: 'lobby', link: { phase } }, directory, { state, isSure }, query, mode);

  test('goes to what was typed, by name or by title, and makes what there is not', () => {
    for (const typed of ['cours-3', 'Third course']) {
      const { exact, create } = offer(typed);
      assert.deepEqual([exact, create], ['cours-3', ''], typed);
    }
    assert.deepEqual([offer(' cours-4 ').exact, offer(' cours-4 ').create], ['', 'cours-4']);
    assert.equal(offer('cours-4', { isSure: false }).create, '', 'the server may know it');
    assert.equal(offer('x'.repeat(65)).create, '');
  });

  test('without a connection has the rooms that one is in, and nobody in them', () => {
    for (const away of [{ phase: 'waiting' }, { state: 'absent' }]) {
      const { rooms: shown, create, isLoading } = offer('', away);
      assert.deepEqual([idsOf(shown), shown[0].present, create, isLoading], [['lobby'], 0, '', false]);
    }
    assert.notEqual(offer('').heading, offer('', { phase: 'waiting' }).heading);
    assert.equal(offer('none', { phase: 'connecting' }).heading, offer('').heading);
    assert.notEqual(offer('', { state: 'failed' }).note, '');
  });
});

describe('the finder', () => {
  beforeEach(() => mockTime(mock));
  afterEach(() => unmockTime(mock));

  /** A server that lists these rooms, so many at once. */
  function open(rooms, { size = 2, error } = {}) {
    const asked = [];
    const directory = new Directory();
    let waiting = [];
    const fetch = ({ list_rooms: { query } }) => {
      asked.push(query);
      const found = rooms.filter((id) => id.includes(query));
      const page = { rooms: found.slice(0, size).map((id) => ({ room: { id } })), next_page_token: found.length > size ? 'more' : '' };
      return new Promise((resolve, reject) => waiting.push(() => (error ? reject(error) : resolve(page))));
    };
    const finder = new Finder(directory, { fetch, onChange() {} });
    const answer = async () => {
      for (const done of waiting.splice(0)) done();
      await Promise.resolve();
      await Promise.resolve();
    };
    return { asked, directory, finder, answer, ids: () => idsOf(directory.choices([], '')) };
  }

  test('asks for what was typed when typing rests, unless all rooms are known', async () => {
    const { asked, finder, answer, ids } = open(['a1', 'a2', 'b1']);
    finder.open();
    assert.equal(finder.state, 'loading');
    await answer();
    assert.deepEqual([finder.state, ids()], ['known', ['a1', 'a2']]);
    finder.typed('b');
    finder.typed('b1');
    assert.equal(finder.isSure, false, 'it may exist');
    mock.timers.tick(TYPING_MS);
    await answer();
    assert.deepEqual([asked, ids(), finder.isSure], [['', 'b1'], ['a1', 'a2', 'b1'], true]);

    const few = open(['a1']);
    few.finder.open();
    await few.answer();
    few.finder.typed('b1');
    mock.timers.tick(TYPING_MS);
    assert.deepEqual([few.asked, few.finder.isSure], [[''], true]);
  });

  test('asks again for all rooms when typing goes on long after they were listed', async () => {
    const rooms = ['a1'];
    const { asked, finder, answer, ids } = open(rooms);
    finder.open();
    await answer();
    rooms.push('b1');
    mock.timers.tick(LISTED_MS);
    finder.typed('b');
    assert.equal(finder.isSure, false, 'it may exist by now');
    mock.timers.tick(TYPING_MS);
    await answer();
    assert.deepEqual([asked, ids(), finder.isSure], [['', ''], ['a1', 'b1'], true]);
  });

  test('leaves typing a name where it fails, or where the server lists none', async () => {
    for (const [code, state] of [['UNAVAILABLE', 'failed'], ['UNIMPLEMENTED', 'absent']]) {
      const { finder, answer } = open(['a1'], { error: { code } });
      finder.open();
      await answer();
      assert.deepEqual([finder.state, finder.isSure], [state, false]);
    }
  });
});
