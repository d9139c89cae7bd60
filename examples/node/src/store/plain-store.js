import { StoreFailure } from './failure.js';

/** What every sealed value begins with (`host/src/seal.rs`). */
const MAGIC = Buffer.from('\0sealed\0', 'latin1');

/** A store that is not encrypted, and knows it: what is encrypted all the same is refused, and stays as it is. */
export class PlainStore {
  #inner;

  /** @param {import('./file-store.js').FileStore} inner */
  constructor(inner) {
    this.#inner = inner;
  }

  async get(key) {
    return plain(key, await this.#inner.get(key));
  }

  async put(key, value, expected) {
    const write = await this.#inner.put(key, value, expected);
    plain(key, write.current);
    return write;
  }

  async delete(key, expected) {
    const write = await this.#inner.delete(key, expected);
    plain(key, write.current);
    return write;
  }

  list(prefix) {
    return this.#inner.list(prefix);
  }

  lock(span) {
    return this.#inner.lock(span);
  }
}

function plain(key, entry) {
  if (entry === undefined || !MAGIC.equals(entry.value.subarray(0, MAGIC.length))) return entry;
  throw new StoreFailure(
    'key-unavailable',
    `the entry ${key} is encrypted, which this host cannot open; use procore-auth, or turn encryption off with its \`store decrypt\`. Nothing was overwritten`,
  );
}
