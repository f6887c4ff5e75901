/** Reading tokens, and waits that the server asks for. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';

import { afterClose, wantsToken } from '../../proxy/static/js/closes.js';
import { Holds } from '../../proxy/static/js/holds.js';
import { offersOf, subjectOf, tokenInHash, tokenProblem } from '../../proxy/static/js/token.js';
import { mockTime, unmockTime } from './support.mjs';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const tokenOf = (claims) => `${encode({ alg: 'EdDSA' })}.${encode(claims)}.c2lnbmVk`;

describe('a token', () => {
  test('says whom it is for', () => {
    for (const sub of ['ada', 'Zoë', '名前', '😀~?>', 'x'.repeat(64)]) {
      assert.equal(subjectOf(tokenOf({ sub })), sub);
      assert.equal(tokenProblem(tokenOf({ sub })), '');
    }
  });

  test('that cannot be read is for nobody', () => {
    const wrong = [tokenOf({}), tokenOf({ sub: 7 }), tokenOf(null), tokenOf([]), 'a.b.c', 'a.!.c', '', 'a'];
    for (const token of [...wrong, `a.${Buffer.from([0xff, 0xfe]).toString('base64url')}.c`]) {
      assert.equal(subjectOf(token), '', token);
      assert.notEqual(tokenProblem(token), '', token);
    }
  });

  test('that could not be offered as a subprotocol is none', () => {
    const good = tokenOf({ sub: 'ada' });
    for (const wrong of [`${good} `, `${good},chat`, `${good}\n`, good.replace('.', '..'), `${good}.`]) {
      assert.notEqual(tokenProblem(wrong), '', JSON.stringify(wrong));
    }
  });

  test('is offered beside the subprotocol of the service', () => {
    assert.deepEqual(offersOf(''), []);
    assert.deepEqual(offersOf('a.b.c'), ['chat', 'bearer.a.b.c']);
  });

  test('is found in the address, and rooms are not taken for one', () => {
    assert.deepEqual(tokenInHash('#token=a.b-_.c'), { token: 'a.b-_.c', room: '' });
    assert.deepEqual(tokenInHash('#token=a.b.c&room=a%20room'), { token: 'a.b.c', room: 'a room' });
    for (const room of ['', '#lobby', '#token', '#token%3Da', '#a&token=b']) {
      assert.equal(tokenInHash(room), null, room);
    }
  });

  test('that is not good is not tried again', () => {
    for (const code of [4010, 4501]) {
      assert.ok(wantsToken(code));
      assert.equal(afterClose(code), 'never');
    }
    assert.ok(!wantsToken(4029));
    assert.equal(afterClose(4029), 'later');
  });
});

describe('a room that rests', () => {
  beforeEach(() => mockTime(mock));
  afterEach(() => unmockTime(mock));

  /** @param {number[]} waits milliseconds asked for by simultaneous refusals */
  function resting(waits) {
    let rested = 0;
    const holds = new Holds(() => (rested += 1), () => 0);
    for (const wait of waits) holds.hold('lobby', wait);
    return { holds, restedAfter: (ms) => (mock.timers.tick(ms), rested) };
  }

  test('rests as long as the server asks for', () => {
    const { holds, restedAfter } = resting([3000]);
    assert.equal(restedAfter(2999), 0);
    assert.ok(holds.holds('lobby'));
    assert.equal(restedAfter(1), 1);
    assert.ok(!holds.holds('lobby'));
  });

  test('rests until the last of those who were refused may come back', () => {
    const { restedAfter } = resting([1000, 2000, 1500]);
    assert.equal(restedAfter(1999), 0);
    assert.equal(restedAfter(1), 1);
    assert.equal(restedAfter(60_000), 1);
  });

  test('of its own accord, if the server does not say', () => {
    const holds = new Holds(() => {}, () => 1);
    holds.hold('lobby');
    holds.hold('lobby');
    mock.timers.tick(499);
    assert.ok(holds.holds('lobby'));
    mock.timers.tick(1);
    assert.ok(!holds.holds('lobby'));
  });
});
