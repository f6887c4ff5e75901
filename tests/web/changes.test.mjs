/** The outbox of changes, and how a message looks with what is in it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  addChange,
  amendChange,
  asChange,
  confirmChange,
  departing,
  discardChanges,
  dueChanges,
  makeChange,
  retryChanges,
  reviveChanges,
} from '../../proxy/static/js/changes.js';
import { firstWords, lookOf, whoReacted } from '../../proxy/static/js/look.js';
import { message, randomFrom } from './support.mjs';

let made = 0;

/** What `me` wants to hold. */
function change(kind, value = '', on = message(1)) {
  made += 1;
  return makeChange(on, { id: `c${made}`, epoch: 'e', user_id: 'me', kind, value });
}

function stands(seq, state, fields = {}) {
  return message(seq, { ...fields, extra: { state } });
}

function wanted(changes) {
  return changes.map(({ kind, value }) => `${kind} ${value}`.trim());
}

describe('an outbox of changes', () => {
  test('keeps the later of two that contradict each other', () => {
    let changes = [];
    for (const [kind, value] of [['react', '👍'], ['content', 'a'], ['unreact', '👍'], ['react', '🎉'], ['content', 'b']]) {
      changes = addChange(changes, change(kind, value));
    }
    assert.deepEqual(wanted(changes), ['unreact 👍', 'react 🎉', 'content b']);
    changes = addChange(changes, change('delete'));
    assert.deepEqual(wanted(changes), ['delete']);
    assert.equal(addChange(changes, change('react', '👍', message(2))).length, 2, 'of another message');
  });

  test('has one of each message on its way, in order, and replaces none of those', () => {
    let changes = [change('react', '👍'), change('react', '🎉'), change('pinned', 'yes', message(2))];
    assert.deepEqual(wanted(dueChanges(changes)), ['react 👍', 'pinned yes']);
    changes = amendChange(changes, changes[0].id, { inFlight: true });
    assert.deepEqual(wanted(dueChanges(changes)), ['pinned yes']);
    changes = addChange(changes, change('unreact', '👍'));
    assert.deepEqual(wanted(changes), ['react 👍', 'react 🎉', 'pinned yes', 'unreact 👍']);
    changes = confirmChange(changes, changes[0].id, stands(1, { change: 1 }));
    assert.deepEqual(wanted(dueChanges(changes)), ['react 🎉', 'pinned yes']);
  });

  test('has edits go on from the text that was seen, whatever else became of the message', () => {
    const seen = stands(1, { change: 3, edited_at: 't1' });
    const edit = change('content', 'new', seen);
    assert.equal(departing(edit, stands(1, { change: 9, edited_at: 't1' })).basis, 9, 'after a reaction');
    assert.equal(departing(edit, stands(1, { change: 9, edited_at: 't2' })).basis, 3, 'after another edit');
    assert.equal(departing(edit, undefined).basis, 3, 'where it is not loaded');
  });

  test('has the second of two edits go on from the first', () => {
    const [first, second] = [change('content', 'one'), change('content', 'two')];
    const changes = addChange([{ ...first, inFlight: true }], second);
    const [next] = confirmChange(changes, first.id, stands(1, { change: 4, edited_at: 't4' }));
    assert.deepEqual([next.value, next.basis, next.edited], ['two', 4, 't4']);
  });

  test('sends an edit again that only a reaction made stale', () => {
    const stale = { ...change('content', 'new'), state: 'failed', stale: true, error: 'no' };
    const find = (state) => reviveChanges([stale], () => stands(1, state))[0].state;
    assert.equal(find({ change: 2 }), 'sending');
    assert.equal(find({ change: 2, edited_at: 't2' }), 'failed', 'its text is another');
    assert.equal(find({ change: 2, deleted_at: 't2' }), 'failed');
    assert.equal(reviveChanges([stale], () => message(1))[0].state, 'failed', 'nothing new is known');
  });

  test('lets a refused one be sent over what is there now, or be dropped', () => {
    const refused = { ...change('content', 'new'), state: 'failed', stale: true, error: 'no' };
    const [again] = retryChanges([refused], 1, stands(1, { change: 7, edited_at: 't7' }));
    assert.deepEqual([again.state, again.basis, again.stale, again.error], ['sending', 7, false, '']);
    assert.deepEqual(discardChanges([refused, change('react', '👍')], 1).length, 1);
  });

  test('takes from a storage only what can be sent', () => {
    const good = { ...change('react', '👍'), inFlight: true };
    assert.deepEqual(asChange(JSON.parse(JSON.stringify(good))), { ...good, inFlight: false });
    const odd = [null, 0, -1, 1.5, 2 ** 32, '', '\ud83d', {}, [], 'x'.repeat(33), 'a\nb', true];
    for (const [field, value] of Object.keys(good).flatMap((key) => odd.map((one) => [key, one]))) {
      const read = asChange({ ...good, [field]: value });
      if (read) assert.ok(!JSON.stringify(read).includes('\\ud83d'), field);
      if (['seq', 'basis'].includes(field) && ![0, 'x'].includes(value)) assert.equal(read, null, `${field} ${value}`);
      if (field === 'value') assert.equal(read, null, `${value}`);
    }
  });

  test('ends where the last of what was wanted holds, in whatever order answers come', () => {
    for (let seed = 0; seed < 300; seed += 1) {
      const random = randomFrom(seed);
      const server = new Set();
      const intent = new Set();
      let changes = [];
      const onWay = [];
      const deliver = () => {
        const [{ id, kind, value, lost }] = onWay.splice(Math.floor(random() * onWay.length), 1);
        server[kind === 'react' ? 'add' : 'delete'](value);
        if (lost) changes = amendChange(changes, id, { inFlight: false });
        else changes = confirmChange(changes, id, stands(1, { change: 1 }));
      };
      for (let step = 0; step < 40; step += 1) {
        const value = random() < 0.5 ? '👍' : '🎉';
        const kind = random() < 0.5 ? 'react' : 'unreact';
        if (random() < 0.4) {
          changes = addChange(changes, change(kind, value));
          intent[kind === 'react' ? 'add' : 'delete'](value);
        }
        for (const due of dueChanges(changes)) {
          changes = amendChange(changes, due.id, { inFlight: true });
          onWay.push({ ...due, lost: random() < 0.3 });
        }
        if (onWay.length > 0 && random() < 0.5) deliver();
      }
      while (changes.length > 0 || onWay.length > 0) {
        for (const due of dueChanges(changes)) {
          changes = amendChange(changes, due.id, { inFlight: true });
          onWay.push({ ...due, lost: false });
        }
        deliver();
      }
      assert.deepEqual(server, intent, `seed ${seed}`);
    }
  });
});

describe('a message looks', () => {
  const reactions = [{ emoji: '👍', count: 3, user_ids: ['ada', 'me', 'ben'] }];

  test('as it stands, with what was done to it here on top', () => {
    const stored = stands(1, { change: 1, edited_at: 't', reactions });
    const look = lookOf(stored, [change('content', 'new'), change('unreact', '👍'), change('react', '🎉')], 'me');
    assert.deepEqual([look.content, look.edited, look.progress], ['new', true, 'saving']);
    assert.deepEqual(look.chips.map(({ emoji, count, mine }) => [emoji, count, mine]), [['👍', 2, false], ['🎉', 1, true]]);
    assert.equal(lookOf(stored, [change('delete')], 'me').progress, 'deleting');
    assert.ok(lookOf(stored, [change('pinned', 'yes')], 'me').pinned);
  });

  test('as before, with the reason, where a change was refused; words that were written stay', () => {
    const refuse = (one) => ({ ...one, state: 'failed', error: 'why' });
    const look = lookOf(stands(1, { change: 1, reactions }), [refuse(change('unreact', '👍')), refuse(change('content', 'mine'))], 'me');
    assert.deepEqual([look.progress, look.error, look.unsaved, look.chips[0].count], ['failed', 'why', 'mine', 3]);
    assert.notEqual(look.content, 'mine', 'what holds is shown');
  });

  test('empty once it is deleted, whatever waits', () => {
    const look = lookOf(stands(1, { change: 2, deleted_at: 't', deleted_by: 'eve' }, { content: '' }), [change('content', 'late')], 'me');
    assert.deepEqual([look.deleted, look.deletedBy, look.content], [true, 'eve', '']);
  });

  test('reacted to by the user where the names are cut off before, if that is known', () => {
    const many = stands(1, { change: 1, reactions: [{ emoji: '👍', count: 30, user_ids: ['ada'] }] });
    assert.equal(lookOf(many, [], 'me').chips[0].mine, false);
    assert.equal(lookOf(many, [], 'me', () => true).chips[0].mine, true);
  });

  test('said in words', () => {
    const who = (count, mine, ...others) => whoReacted({ emoji: '👍', count, mine, waits: false, others });
    assert.deepEqual(
      [who(1, true), who(1, false, 'ada'), who(2, true, 'ada'), who(2, false, 'ada', 'ben'), who(3, true, 'ada', 'ben'), who(9, false, 'ada')],
      ['you', 'ada', 'you and ada', 'ada and ben', 'you and 2 others', 'ada and 8 others'],
    );
    assert.equal(firstWords('  a\n\nb   c '), 'a b c');
    assert.equal(firstWords('👍'.repeat(9), 3), '👍👍👍…');
  });
});
