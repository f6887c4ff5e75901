/** Mentions in a text, keys in a list, and what may be done to a message. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { findEmoji, QUICK } from '../../proxy/static/js/emoji.js';
import { lookOf } from '../../proxy/static/js/look.js';
import { candidates, complete, MENTIONS, mentionAt, mentionsIn } from '../../proxy/static/js/mentions.js';
import { offersFor } from '../../proxy/static/js/offers.js';
import { moved } from '../../proxy/static/js/roving.js';
import { emojiProblem } from '../../proxy/static/js/rules.js';
import { message } from './support.mjs';

describe('a mention', () => {
  test('is being typed behind an "@" that begins a word', () => {
    const typed = (text) => mentionAt(text, text.length)?.query ?? null;
    assert.deepEqual(['@', 'hi @an', '(@b', 'line\n@é'].map(typed), ['', 'an', 'b', 'é']);
    assert.deepEqual(['a@b', 'mail me@host', '@ada ', 'none', '@@'].map(typed), [null, null, null, null, null]);
    assert.deepEqual(mentionAt('hi @an there', 6), { start: 3, query: 'an' });
  });

  test('offers those who wrote here first, then others, by the beginning of a name, then by a part', () => {
    const users = [{ id: 'anna' }, { id: 'u7', name: 'Ándre' }, { id: 'ben' }, { id: 'me' }, { id: 'joan' }];
    assert.deepEqual(candidates('an', ['joan', 'anton'], users, 'me'), ['anton', 'anna', 'u7', 'joan']);
    assert.deepEqual(candidates('', ['ben'], users, 'me'), ['ben', 'anna', 'u7', 'joan']);
    assert.deepEqual(candidates('zz', ['ben'], users, 'me'), []);
  });

  test('completes the text, and counts as long as the text has it', () => {
    assert.deepEqual(complete('hi @an, you', { start: 3, query: 'an' }, 'anna'), { text: 'hi @anna, you', caret: 8 });
    assert.deepEqual(complete('@a b', { start: 0, query: 'a' }, 'ada'), { text: '@ada b', caret: 5 });
    assert.deepEqual(mentionsIn('to @ada and @Ada Lovelace', new Map([['ada', 'ada'], ['g-7', 'Ada Lovelace'], ['ben', 'ben']])), ['ada', 'g-7']);
    assert.deepEqual(mentionsIn('@adam', new Map([['ada', 'ada']])), [], 'of another name it is only the beginning');
    const many = Array.from({ length: 60 }, (_, nth) => `u${nth}`);
    assert.equal(mentionsIn(many.map((id) => `@${id}`).join(' '), new Map(many.map((id) => [id, id]))).length, MENTIONS);
  });
});

describe('keys', () => {
  test('move through a list, and stop or go round at its ends', () => {
    const go = (key, at, options) => moved(key, at, 5, options);
    assert.deepEqual([go('ArrowDown', 1), go('ArrowUp', 1), go('Home', 3), go('End', 3)], [2, 0, 0, 4]);
    assert.deepEqual([go('ArrowUp', 0), go('ArrowDown', 4), go('ArrowUp', 0, { wraps: true })], [0, 4, 4]);
    assert.deepEqual([go('ArrowUp', -1), go('ArrowDown', -1), go('ArrowLeft', 2), go('x', 2)], [4, 0, null, null]);
    assert.equal(moved('ArrowDown', -1, 0), null);
  });

  test('move through a grid', () => {
    const go = (key, at) => moved(key, at, 10, { columns: 4 });
    assert.deepEqual([go('ArrowDown', 1), go('ArrowUp', 5), go('ArrowRight', 3), go('ArrowDown', 7), go('ArrowUp', 2)], [5, 1, 4, 7, 2]);
  });
});

describe('what is offered', () => {
  const offered = (fields, who, changeable = true) => {
    const one = message(1, fields);
    return offersFor(one, lookOf(one, [], 'me'), { self: 'me', ...who }, changeable).join(' ');
  };

  test('is what the server allows', () => {
    assert.equal(offered({ sender_id: 'me' }, { moderates: false }), 'react reply edit copy link delete');
    assert.equal(offered({}, { moderates: false }), 'react reply copy link');
    assert.equal(offered({}, { moderates: true }), 'react reply copy link pin delete');
    assert.equal(offered({ extra: { state: { change: 1, pinned: true } } }, { moderates: true }), 'react reply copy link unpin delete');
    assert.equal(offered({ extra: { state: { change: 1, deleted_at: 't' } } }, { moderates: true }), '');
    assert.equal(offered({ sender_id: 'me' }, { moderates: true }, false), 'copy link', 'a server of before');
  });

  test('as emoji is found by words, and each may be sent', () => {
    assert.equal(findEmoji(' Fire')[0][0], '🔥');
    assert.deepEqual(findEmoji('zzz'), []);
    assert.equal(QUICK.length, 6);
    for (const [emoji] of findEmoji('')) assert.equal(emojiProblem(emoji), '', emoji);
    assert.deepEqual([emojiProblem('x'.repeat(33)) === '', emojiProblem('a\tb') === '', emojiProblem('') === ''], [false, false, false]);
  });
});
