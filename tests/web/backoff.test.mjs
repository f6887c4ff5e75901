import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../proxy/static/js/backoff.js';
import { CAP_MS, Connection, FIRST_MS } from '../../proxy/static/js/connection.js';
import { mockTime, randomFrom, Socket } from './support.mjs';

const TRIES = 2000;

/**
 * @param {() => number} random
 * @param {{base?: number, cap?: number}} [options]
 */
function waits(random, { base = 500, cap = 30_000 } = {}) {
  const backoff = new Backoff({ base, cap, random });
  return Array.from({ length: TRIES }, () => backoff.next());
}

test('the bound doubles with every try, up to the cap and never beyond', () => {
  const longest = waits(() => 1, { base: 100, cap: 1000 });
  assert.deepEqual(longest.slice(0, 6), [100, 200, 400, 800, 1000, 1000]);
  assert.ok(longest.every((wait) => wait <= 1000));
});

test('a wait may be anything from nothing to its bound', () => {
  assert.ok(waits(() => 0).every((wait) => wait === 0));
  for (const share of [0.25, 0.5, 0.999]) {
    const bounds = waits(() => 1);
    waits(() => share).forEach((wait, index) => assert.equal(wait, share * bounds[index]));
  }
});

test('each wait is drawn anew', () => {
  let draws = 0;
  waits(() => ((draws += 1), 0.5));
  assert.equal(draws, TRIES);
});

test('waits are spread evenly below their bound', () => {
  const cap = 1000;
  const counts = new Array(10).fill(0);
  for (const wait of waits(randomFrom(7), { base: cap, cap })) counts[Math.floor((wait / cap) * 10)] += 1;
  // Pearson's chi-squared; with 9 degrees of freedom, one in a thousand is above 27.9.
  const expected = TRIES / 10;
  const chiSquared = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  assert.ok(chiSquared < 27.9, `${counts}`);
});

test('after a reset the first bound counts again', () => {
  const backoff = new Backoff({ base: 100, cap: 1000, random: () => 1 });
  for (let tries = 0; tries < 10; tries += 1) backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('a client that cannot connect waits so between its tries', (context) => {
  mockTime(context.mock);
  const random = randomFrom(11);
  const draws = randomFrom(11);
  const sockets = [];
  const links = [];
  const connection = new Connection(
    'ws://server/',
    { onOpen: () => {}, onText: () => {}, onLost: () => {}, onLink: (link) => links.push(link) },
    { openSocket: () => (sockets.push(new Socket()), sockets.at(-1)), random },
  );
  connection.connect();
  for (let tries = 0; tries < 12; tries += 1) {
    sockets.at(-1).onclose({ code: 1006, reason: '' });
    const { phase, retryAt } = links.at(-1);
    const expected = draws() * Math.min(CAP_MS, FIRST_MS * 2 ** tries);
    assert.equal(phase, 'waiting');
    assert.equal(retryAt, performance.now() + expected);
    context.mock.timers.tick(Math.ceil(expected));
    assert.equal(sockets.length, tries + 2);
  }
});
