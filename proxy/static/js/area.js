/** A browser's storage, as the page uses it: values by key. */

/** A storage that may be forbidden or full: the page works then, it only forgets. */
export class Area {
  #storage;

  /** @param {() => Storage} storage reading the property itself throws where it is forbidden */
  constructor(storage) {
    this.#storage = () => {
      try {
        return storage();
      } catch {
        return null;
      }
    };
  }

  /** @param {Storage | null} storage */
  is(storage) {
    return storage !== null && storage === this.#storage();
  }

  /**
   * @param {string} prefix
   * @returns {string[]}
   */
  keys(prefix) {
    const storage = this.#storage();
    const all = Array.from({ length: storage?.length ?? 0 }, (_, nth) => storage?.key(nth) ?? '');
    return all.filter((key) => key.startsWith(prefix));
  }

  /**
   * @param {string} key
   * @returns {any} the stored value, or null
   */
  read(key) {
    return parse(this.#storage()?.getItem(key) ?? 'null');
  }

  /**
   * @param {string} key
   * @param {unknown} value
   */
  write(key, value) {
    const storage = this.#storage();
    const text = JSON.stringify(value);
    if (storage === null || storage.getItem(key) === text) return;
    try {
      storage.setItem(key, text);
    } catch {
      // It is full.
    }
  }

  /** @param {string} key */
  remove(key) {
    this.#storage()?.removeItem(key);
  }
}

/**
 * @param {string} text
 * @returns {any} what it says, or null
 */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
