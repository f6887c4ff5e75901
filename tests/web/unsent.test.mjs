/** What is not confirmed yet: neither a reload nor the end of a tab loses it, and one tab has it. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Area } from '../../proxy/static/js/area.js';
import { giveUp, restore, takeOver } from '../../proxy/static/js/carrying.js';
import { Store } from '../../proxy/static/js/store.js';
import { Unsent } from '../../proxy/static/js/unsent.js';
import { FakeLocks, FakeStorage } from './storage.mjs';

/** The tabs of one browser. */
class Browser {
  all = new FakeStorage();
  locks = new FakeLocks();
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {FakeStorage} [own] of a tab that is loaded anew, or was copied */
  async open(own = new FakeStorage(), self = 'ada') {
    const locks = this.locks.tab();
    const areas = [new Area(() => own), new Area(() => this.all)];
    const wait = () => new Promise((done) => this.#waiting.push(done));
    const unsent = new Unsent(...areas, { locks, wait });
    const store = new Store();
    store.self = self;
    const left = unsent.load();
    restore(store, { name: self, current: '', rooms: [{ id: 'lobby', epoch: 'e1', readSeq: 0 }] }, left.outbox, left.changes);
    const save = () => unsent.save(store.outbox(), store.changes());
    const onLeft = (found) => {
      const taken = takeOver(store, found);
      save();
      return taken;
    };
    const hear = (event) => unsent.heard(event);
    const opened = unsent.open({ onLeft, onTaken: () => giveUp(store, left) }).then(save);
    this.all.listeners.add(hear);
    await settled();
    return {
      own,
      store,
      opened,
      send(content) {
        store.compose('lobby', content, content, '2024-01-01T12:00:00Z');
        save();
      },
      texts: () => store.outbox().map(({ content }) => content),
      close: async () => {
        this.all.listeners.delete(hear);
        locks.close();
        await settled();
      },
    };
  }

  /** Lets the time pass in which a tab may come back. */
  async pass() {
    for (const done of this.#waiting.splice(0)) done();
    await settled();
  }
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 1));

describe('what a tab did not send', () => {
  test('is taken over by one other tab when it is closed', async () => {
    const browser = new Browser();
    const [one, two, three] = [await browser.open(), await browser.open(), await browser.open()];
    one.send('hello');
    await one.close();
    assert.deepEqual([two.texts(), three.texts()], [[], []], 'it may be loaded anew');
    await browser.pass();
    assert.deepEqual([...two.texts(), ...three.texts()], ['hello']);
    // A tab that comes back later shows it no longer.
    assert.deepEqual((await browser.open(one.own)).texts(), []);
  });

  test('is found when the browser is opened again', async () => {
    const browser = new Browser();
    const one = await browser.open();
    one.send('hello');
    await one.close();
    const two = await browser.open();
    await browser.pass();
    assert.deepEqual(two.texts(), ['hello']);
    await two.close();
    const three = await browser.open(two.own);
    assert.deepEqual(three.texts(), ['hello']);
  });

  test('stays with a tab that is loaded anew', async () => {
    const browser = new Browser();
    const [one, two] = [await browser.open(), await browser.open()];
    one.send('hello');
    await one.close();
    const again = await browser.open(one.own);
    await browser.pass();
    assert.deepEqual([again.texts(), two.texts()], [['hello'], []]);
    again.send('more');
    await again.close();
    await browser.pass();
    assert.deepEqual(two.texts(), ['hello', 'more']);
  });

  test('is not shown by a copy of the tab', async (context) => {
    const browser = new Browser();
    const one = await browser.open();
    one.send('hello');
    const own = new FakeStorage();
    for (let nth = 0; nth < one.own.length; nth += 1) own.setItem(one.own.key(nth), one.own.getItem(one.own.key(nth)));
    const abort = new AbortController();
    context.mock.method(AbortSignal, 'timeout', () => abort.signal);
    const copy = await browser.open(own);
    abort.abort();
    await copy.opened;
    assert.deepEqual([one.texts(), copy.texts()], [['hello'], []]);
  });

  test("of another user is left to that user's tabs", async () => {
    const browser = new Browser();
    const one = await browser.open();
    one.send('hello');
    await one.close();
    const ben = await browser.open(new FakeStorage(), 'ben');
    await browser.pass();
    assert.deepEqual(ben.texts(), []);
    const ada = await browser.open();
    await browser.pass();
    assert.deepEqual(ada.texts(), ['hello']);
  });

  test('is kept by the tab alone where there are no locks', async () => {
    const [tab, all] = [new FakeStorage(), new FakeStorage()];
    const unsent = new Unsent(new Area(() => tab), new Area(() => all), { locks: undefined });
    await unsent.open({ onLeft: (left) => left, onTaken: () => assert.fail() });
    unsent.save([{ id: 'a' }], []);
    assert.deepEqual([tab.length, all.length], [2, 0]);
  });
});
