/** A browser's storage and locks, as several tabs share them. */

/** A browser's storage, which notifies listeners of other tabs' changes. */
export class FakeStorage {
  #items = new Map();
  listeners = new Set();

  get length() {
    return this.#items.size;
  }

  key(nth) {
    return [...this.#items.keys()][nth] ?? null;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, value);
    this.#tell(key, value);
  }

  removeItem(key) {
    if (this.#items.delete(key)) this.#tell(key, null);
  }

  #tell(key, newValue) {
    for (const listener of this.listeners) listener({ key, newValue, storageArea: this });
  }
}

/** The locks of one origin: each in the order in which it was asked for (Web Locks). */
export class FakeLocks {
  #queues = new Map();

  /** What a tab asks with; its locks end with it. */
  tab() {
    const held = new Set();
    return {
      request: (name, ...rest) => this.#request(name, rest.at(-1), rest.length > 1 ? rest[0] : {}, held),
      close: () => held.forEach((free) => free()),
    };
  }

  async #request(name, callback, { ifAvailable = false, signal }, held) {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    if (ifAvailable && queue.length > 0) return callback(null);
    const before = queue.at(-1);
    let free = () => {};
    const freed = new Promise((resolve) => (free = resolve));
    queue.push(freed);
    void freed.then(() => queue.splice(queue.indexOf(freed), 1));
    const aborted = new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason));
    });
    try {
      await Promise.race([before, aborted]);
      held.add(free);
      await Promise.race([callback({ name }), freed]);
    } finally {
      held.delete(free);
      free();
    }
    return undefined;
  }
}
