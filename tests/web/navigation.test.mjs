/** Addresses of messages, days in a history, and how often news are spoken. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { findByTime } from '../../proxy/static/js/bydate.js';
import { hashOf, placeInHash } from '../../proxy/static/js/location.js';
import { BUSY_MS, MOST, Pace, TOGETHER_MS } from '../../proxy/static/js/pace.js';
import { randomFrom } from './support.mjs';

describe('an address', () => {
  test('names a room, and a message in it', () => {
    for (const room of ['lobby', 'a room/ü', 'a/7', '/', '%', '#/3', '💬']) {
      assert.deepEqual(placeInHash(hashOf(room)), { room, seq: 0 });
      assert.deepEqual(placeInHash(hashOf(room, 42)), { room, seq: 42 });
    }
  });

  test('that was typed names a room as well', () => {
    assert.deepEqual(placeInHash('#a b/c'), { room: 'a b/c', seq: 0 });
    assert.deepEqual(placeInHash('#lobby/'), { room: 'lobby/', seq: 0 });
    assert.deepEqual(placeInHash('#%E0%A4%A'), { room: '', seq: 0 });
    assert.deepEqual(placeInHash(''), { room: '', seq: 0 });
  });
});

describe('a day in a history', () => {
  /** A history whose messages were sent at these times; the first ones are no longer kept. */
  function historyOf(times, gone = 0) {
    let asked = 0;
    const next = async (after) => {
      asked += 1;
      const seq = Math.max(after, gone) + 1;
      return seq > times.length ? undefined : { seq, sent_at: new Date(times[seq - 1]).toISOString() };
    };
    return { next, asked: () => asked };
  }

  test('is found, whenever people wrote, with few questions', async () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = randomFrom(seed);
      let now = 1_000_000;
      const pause = () => (random() < 0.02 ? random() * 1e8 : random() * 1000);
      const times = Array.from({ length: Math.floor(random() * 3000) }, () => (now += Math.round(pause())));
      const gone = random() < 0.3 ? Math.floor(random() * times.length) : 0;
      const at = random() < 0.2 ? times[Math.floor(random() * times.length)] ?? 0 : random() * now * 1.1;
      const { next, asked } = historyOf(times, gone);
      const found = await findByTime(next, times.length, at);
      const right = times.findIndex((time, nth) => nth >= gone && time >= at) + 1;
      assert.equal(found, right, `seed ${seed}`);
      assert.ok(asked() <= 26, `${asked()} questions for ${times.length}`);
    }
  });

  test('is found fast where people write evenly', async () => {
    const { next, asked } = historyOf(Array.from({ length: 100_000 }, (_, nth) => nth * 1000));
    assert.equal(await findByTime(next, 100_000, 31_415_500), 31_417);
    assert.ok(asked() <= 12, String(asked()));
  });
});

describe('news', () => {
  test('of a conversation are spoken soon, of a crowd every five seconds', () => {
    const pace = new Pace();
    assert.equal(pace.hear(0), TOGETHER_MS);
    pace.told(TOGETHER_MS);
    assert.equal(pace.hear(2_000), TOGETHER_MS);
    pace.told(2_400);
    for (let nth = 0; nth < MOST; nth += 1) pace.hear(3_000);
    assert.equal(pace.hear(3_000), 2_400 + BUSY_MS - 3_000);
    pace.told(2_400 + BUSY_MS);
    assert.equal(pace.hear(20_000), TOGETHER_MS, 'it is quiet again');
  });

  test('that come without a pause are spoken at most so often', () => {
    const pace = new Pace();
    let due = Infinity;
    const told = [];
    for (let now = 0; now < 60_000; now += 5) {
      if (now >= due) {
        told.push(now);
        pace.told(now);
        due = Infinity;
      }
      const wait = pace.hear(now);
      if (due === Infinity) due = now + wait;
    }
    assert.ok(told.length <= 60_000 / BUSY_MS + 1, String(told));
    assert.ok(told.length >= 10);
  });
});
