import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { applyHistory, applyMessage, missingHistory, resumePosition } from '../../proxy/static/js/history.js';
import { applyDisconnect, applyJoined, createRoom } from '../../proxy/static/js/room.js';
import { applyChanges, applyChangesPage, applyState, missingChanges } from '../../proxy/static/js/states.js';
import { message, messages, randomFrom } from './support.mjs';

const JOINED = { room_id: 'lobby', epoch: 'e1', last_seq: 9, recovered: false };

/** A room with the messages 1 to 9, none of which ever changed. */
function loadedRoom() {
  const room = createRoom('lobby');
  applyJoined(room, { ...JOINED, last_change: 0 });
  room.request = missingHistory(room, true);
  applyHistory(room, { messages: messages(1, 9), has_more: false, epoch: 'e1', last_change: 0 });
  return room;
}

function span(after_change, last_change, ...changed) {
  return { room_id: 'lobby', after_change, last_change, messages: changed };
}

function react(seq, change, emoji = '👍') {
  return { seq, state: { change, reactions: [{ emoji, count: 1, user_ids: ['bob'] }] } };
}

function at(room, seq) {
  return room.messages.find((each) => each.seq === seq);
}

describe('a change', () => {
  test('replaces the text where it is told, and leaves it where it is not', () => {
    const room = loadedRoom();
    const before = at(room, 3);
    applyChanges(room, span(0, 2, { ...react(3, 2), content: 'edited' }));
    assert.deepEqual([at(room, 3).content, at(room, 3).extra.state.change], ['edited', 2]);
    assert.equal(before.content, 'text 3', 'the message itself is not touched');
    applyChanges(room, span(2, 3, react(3, 3, '🎉')));
    assert.deepEqual([at(room, 3).content, at(room, 3).extra.state.reactions[0].emoji], ['edited', '🎉']);
  });

  test('that comes twice, late, or is older than what is shown changes nothing', () => {
    const room = loadedRoom();
    applyChanges(room, span(0, 1, { ...react(3, 1), content: 'first' }));
    applyState(room, { ...message(3, { content: 'second' }), extra: { state: { change: 2 } } });
    const shown = at(room, 3);
    applyChanges(room, span(0, 1, { ...react(3, 1), content: 'first' }));
    applyChanges(room, span(1, 2, { seq: 3, content: 'second', state: { change: 2 } }));
    assert.equal(at(room, 3), shown);
    assert.equal(room.lastChange, 2);
  });

  test('that deletes leaves nothing but the place', () => {
    const room = loadedRoom();
    applyState(room, message(3, { extra: { reply_to: 1, mentions: ['me'], state: { change: 1 } } }));
    applyChanges(room, span(0, 2, { seq: 3, content: '', state: { change: 2, deleted_at: 'now' } }));
    assert.deepEqual(at(room, 3).content, '');
    assert.deepEqual(at(room, 3).extra, { state: { change: 2, deleted_at: 'now' } });
  });

  test('is told by a message that is replayed, or comes in a page, as it stands', () => {
    const room = loadedRoom();
    const edited = (seq) => message(seq, { content: 'edited', extra: { state: { change: seq } } });
    assert.equal(applyMessage(room, edited(8), 'me'), false);
    room.request = { kind: 'older', range: { before_seq: 10 }, limit: 50 };
    applyHistory(room, { messages: [edited(7)], has_more: false, epoch: 'e1', last_change: 8 });
    assert.deepEqual([7, 8].map((seq) => at(room, seq).content), ['edited', 'edited']);
  });

  test('of a message that is not loaded is not kept', () => {
    const room = loadedRoom();
    applyChanges(room, span(0, 4, react(99, 4)));
    assert.deepEqual([room.lastChange, room.messages], [4, messages(1, 9)]);
  });

  test('behind others that were not told is asked for with them', () => {
    const room = loadedRoom();
    applyChanges(room, span(2, 3, react(3, 3)));
    assert.equal(at(room, 3).extra, undefined);
    assert.equal(missingChanges(room), 0);
    room.changesRequest = 'r';
    assert.equal(missingChanges(room), null);
    const changes = span(0, 3, { ...react(3, 3), content: 'edited at 1' });
    applyChangesPage(room, { changes, has_more: false, epoch: 'e1' });
    assert.deepEqual([at(room, 3).content, room.lastChange, missingChanges(room)], ['edited at 1', 3, null]);
  });

  test('that is told live while pages are read waits for the last one', () => {
    const room = loadedRoom();
    applyChanges(room, span(4, 5, react(5, 5)));
    // Message 1 was edited at 2 and changed again at 6, behind the end of this page.
    applyChangesPage(room, { changes: span(0, 3, react(3, 3)), has_more: true, epoch: 'e1' });
    applyChanges(room, span(3, 6, react(4, 4), react(5, 5), react(1, 6)));
    assert.equal(missingChanges(room), 3);
    const rest = span(3, 6, react(4, 4), react(5, 5), { ...react(1, 6), content: 'edited' });
    applyChangesPage(room, { changes: rest, has_more: false, epoch: 'e1' });
    assert.deepEqual([at(room, 1).content, missingChanges(room)], ['edited', null]);
  });

  test('that overtook a page of history is asked for again', () => {
    const room = createRoom('lobby');
    applyJoined(room, { ...JOINED, last_change: 0 });
    room.request = missingHistory(room, true);
    applyChanges(room, span(0, 1, react(3, 1)));
    applyHistory(room, { messages: messages(1, 9), has_more: false, epoch: 'e1' });
    assert.equal(missingChanges(room), 0);
    applyChangesPage(room, { changes: span(0, 1, react(3, 1)), has_more: false, epoch: 'e1' });
    assert.deepEqual([at(room, 3).extra.state.change, missingChanges(room)], [1, null]);
  });

  test('is the position that a new connection resumes from', () => {
    const room = loadedRoom();
    applyChanges(room, span(0, 5, react(3, 5)));
    applyDisconnect(room);
    assert.deepEqual(resumePosition(room), { after_seq: 9, epoch: 'e1', after_change: 5 });
    applyJoined(room, { ...JOINED, recovered: false, last_change: 7 });
    assert.deepEqual([room.messages, room.lastChange], [[], 7]);
  });

  test('may have happened while a server told none: all are asked for', () => {
    const room = createRoom('lobby');
    applyJoined(room, JOINED);
    room.request = missingHistory(room, true);
    applyHistory(room, { messages: messages(1, 9), has_more: false, epoch: 'e1' });
    assert.deepEqual(resumePosition(room), { after_seq: 9, epoch: 'e1' });
    applyDisconnect(room);
    applyJoined(room, { ...JOINED, recovered: true, last_change: 3 });
    assert.equal(missingChanges(room), 0);
  });
});

test('of one history, any order and choice of frames gives one picture in the end', () => {
  const CHANGES = 30;
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = randomFrom(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const room = loadedRoom();
    // Every state of the history: `past[n]` is what `n` changes made of it.
    const past = [messages(1, 9)];
    const texts = new Map();
    for (let change = 1; change <= CHANGES; change += 1) {
      const seq = pick([1, 2, 3, 4, 5, 6, 7, 8, 9]);
      const kind = pick(['edit', 'react', 'react', 'delete']);
      const next = past[change - 1].map((known) => {
        if (known.seq !== seq) return known;
        const state = { change, ...(kind === 'delete' && { deleted_at: 'now' }) };
        const content = { edit: `edit ${change}`, delete: '', react: known.content }[kind];
        return { ...known, content, extra: { state } };
      });
      if (kind !== 'react') texts.set(seq, [...(texts.get(seq) ?? []), change]);
      past.push(next);
    }
    /** What a server tells that has seen `last` changes. */
    const told = (after, last) =>
      span(after, last, ...past[last].filter(({ extra }) => (extra?.state.change ?? 0) > after).map((each) => ({
        seq: each.seq,
        state: each.extra.state,
        ...((texts.get(each.seq) ?? []).some((at) => at > after && at <= last) && { content: each.content }),
      })));
    for (let step = 0; step < 60; step += 1) {
      const [a, b] = [Math.floor(random() * (CHANGES + 1)), Math.floor(random() * (CHANGES + 1))];
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      pick([
        () => applyChanges(room, told(low, high)),
        () => applyState(room, pick(past[high])),
        () => applyMessage(room, pick(past[low]), 'me'),
        () => {
          room.request = { kind: 'older', range: { before_seq: 10 }, limit: 50 };
          applyHistory(room, { messages: past[low], has_more: false, epoch: 'e1', last_change: low });
        },
      ])();
    }
    applyChanges(room, span(CHANGES, CHANGES));
    for (let after = missingChanges(room); after !== null; after = missingChanges(room)) {
      applyChangesPage(room, { changes: told(after, CHANGES), has_more: false, epoch: 'e1' });
    }
    assert.deepEqual([room.messages, room.lastChange], [past[CHANGES], CHANGES], `seed ${seed}`);
  }
});
