/**
 * A store in files, in the format of the Rust host's `FileStore`: it is documented at the top of `host/src/file_store.rs`, with the
 * order of the steps. Both, and any other host that keeps to it, can share a folder at the same time.
 */
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';

import { NAME_RULE, isConnectionName } from '../connection-name.js';
import { expect } from '../settings.js';
import { Damaged, MAX_HEADER, NewerFormat, decode, encode, revisionOf } from './entry-file.js';
import { StoreFailure, at, failure } from './failure.js';
import { checkSupport, hold, holdBriefly } from './file-lock.js';
import * as installation from './installation.js';
import { isKey } from './key.js';
import { checkFolder, createFolder, createNew, open, openLockFile, syncFolder } from './private-file.js';
import * as revision from './revision.js';
import { Turn } from './turn.js';
import * as unfinished from './unfinished.js';

/** The most bytes of a value. */
const MAX_VALUE = 256 * 2 ** 20;

const PREVIOUS = '.previous';

/**
 * A value with its version.
 * @typedef {object} Entry
 * @property {Buffer} value
 * @property {number} revision
 * @property {'newest' | 'previous' | 'copied'} provenance whether it can be what was written last
 */

/**
 * What became of a write. `current` is what stands there where it was not at the expected revision.
 * @typedef {{ stored: number } | { conflict: true, current?: Entry }} Write
 */

/** One connection's entries and its lock, in a folder for this account only. */
export class FileStore {
  #folder;
  #turn = new Turn();

  /** @param {string} folder */
  constructor(folder) {
    this.#folder = folder;
  }

  /**
   * Opens the connection's folder under `root`, and creates both where they are missing.
   * @param {string} root
   * @param {string} name the connection's
   */
  static async open(root, name) {
    expect(typeof root === 'string' && root !== '', 'state', 'the path of a folder');
    expect(isConnectionName(name), 'name', NAME_RULE);
    await createFolder(root);
    const folder = path.join(await at(root, () => fs.realpath(root)), name);
    await createFolder(folder);
    await checkFolder(folder);
    const store = new FileStore(folder);
    await checkSupport(store.#at('.guard'));
    if ((await installation.marked(folder)) === undefined) {
      await store.#guarded(() => installation.of(folder));
    }
    await (await openLockFile(store.#at('.lock'))).close();
    return store;
  }

  /**
   * Returns the entry; `undefined` where the key was never written or was deleted.
   * @param {string} key
   * @returns {Promise<Entry | undefined>}
   */
  async get(key) {
    // Without the guard: renaming is atomic, so a whole file is the entry.
    const current = await this.#read(this.#at(key));
    if (current?.decoded !== undefined && !(await this.#isOutdated(key, current.decoded))) {
      const install = await installation.marked(this.#folder);
      if (install !== undefined) return newest(current.decoded, install);
    }
    return this.#guarded(() => this.#load(key));
  }

  /**
   * Writes the entry if it is at revision `expected`; `undefined` expects that there is none. Durable when it returns.
   * @param {string} key
   * @param {Uint8Array} value
   * @param {number | undefined} expected
   * @returns {Promise<Write>}
   */
  async put(key, value, expected) {
    const file = this.#at(key);
    if (value.length > MAX_VALUE) throw new StoreFailure('too-large', `${file}: more than ${MAX_VALUE} bytes`);
    return this.#guarded(async () => {
      const current = await this.#load(key);
      if (current?.revision !== expected) return { conflict: true, current };
      const next = revision.next(expected);
      const bytes = encode(next, await installation.of(this.#folder), value);
      const aside = await this.#writeAside(key, unfinished.successorPrefix(key, expected), bytes);
      await this.#removedUnless(aside, async () => {
        if (current !== undefined && current.provenance !== 'previous') await this.#keepPrevious(key, current);
        await at(file, () => fs.rename(aside, file));
      });
      await this.#sync();
      return { stored: next };
    });
  }

  /**
   * Deletes the entry, and every older version of it, if it is at revision `expected`.
   * @param {string} key
   * @param {number} expected
   * @returns {Promise<Write>}
   */
  async delete(key, expected) {
    return this.#guarded(async () => {
      const current = await this.#load(key);
      if (current?.revision !== expected) return { conflict: true, current };
      for (const name of await this.#names()) {
        if (name.startsWith(unfinished.prefix(key)) || name.startsWith(`${key}.damaged-`)) {
          await remove(this.#at(name));
        }
      }
      // The last removal decides.
      await remove(this.#at(key + PREVIOUS));
      await remove(this.#at(key));
      await this.#sync();
      return { stored: expected };
    });
  }

  /**
   * Returns the keys that begin with `prefix`, in ascending order.
   * @param {string} prefix
   */
  async list(prefix) {
    const keys = (await this.#names())
      .map((name) => (name.endsWith(PREVIOUS) ? name.slice(0, -PREVIOUS.length) : name))
      .filter((key) => key.startsWith(prefix) && isKey(key));
    return [...new Set(keys)].sort();
  }

  /**
   * Takes the exclusive lock; `undefined` where another holder kept it for longer than `span` milliseconds. The death of the process
   * frees it.
   * @param {number} span
   */
  async lock(span) {
    const held = await hold(this.#at('.lock'), span);
    if (held === undefined) return undefined;
    try {
      await this.#guarded(() => this.#finishWrites());
      return held;
    } catch (error) {
      await held.release();
      throw error;
    }
  }

  #at(name) {
    return path.join(this.#folder, name);
  }

  /** Keeps everybody else from changing anything meanwhile. */
  async #guarded(work) {
    // In order within this process: its own calls do not keep each other waiting beyond what a holder is given.
    const endTurn = await this.#turn.take(Infinity);
    try {
      const guard = await holdBriefly(this.#at('.guard'));
      try {
        return await work();
      } finally {
        await guard.release();
      }
    } finally {
      endTurn();
    }
  }

  /** Reads the entry by the table at the top of the format's description. */
  async #load(key) {
    const file = this.#at(key);
    const install = await installation.of(this.#folder);
    const current = await this.#read(file);
    if (current?.decoded !== undefined) {
      if (!(await this.#isOutdated(key, current.decoded))) return newest(current.decoded, install);
      // The previous generation may be damaged behind its header: then the older one is all there is.
      const previous = await this.#read(this.#at(key + PREVIOUS));
      if (previous?.decoded === undefined) return newest(current.decoded, install);
      await this.#setAside(key, file);
      return previousGeneration(previous.decoded);
    }
    const previous = await this.#read(this.#at(key + PREVIOUS));
    if (current === undefined && previous === undefined) return undefined;
    if (previous?.decoded === undefined) throw corrupt(file, current?.damage ?? previous.damage);
    if (current !== undefined) await this.#setAside(key, file);
    return previousGeneration(previous.decoded);
  }

  /** Whether the previous generation is newer than this one: somebody put an older file in its place. */
  async #isOutdated(key, current) {
    const file = this.#at(key + PREVIOUS);
    const handle = await open(file);
    if (handle === undefined) return false;
    const start = await at(file, async () => {
      try {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER), 0, MAX_HEADER, 0);
        return buffer.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    });
    const previous = revisionOf(start);
    return previous !== undefined && previous > current.revision;
  }

  /** Returns a file decoded, or what damage it has; `undefined` where there is none. */
  async #read(file) {
    const handle = await open(file);
    if (handle === undefined) return undefined;
    const bytes = await at(file, async () => {
      try {
        const { size } = await handle.stat();
        return size > MAX_VALUE + MAX_HEADER ? undefined : await handle.readFile();
      } finally {
        await handle.close();
      }
    });
    if (bytes === undefined) return { damage: 'the file is too large' };
    try {
      return { decoded: decode(bytes) };
    } catch (error) {
      if (error instanceof Damaged) return { damage: error.message };
      if (!(error instanceof NewerFormat)) throw error;
      throw new StoreFailure('newer-format', `${file}: written by a later version (format ${error.message})`);
    }
  }

  /** Finishes the writes that were cut short by their writers' death, and removes what cannot be finished. */
  async #finishWrites() {
    for (const name of await this.#names()) {
      const write = unfinished.parse(name);
      if (write !== undefined) await this.#finishWrite(this.#at(name), write);
    }
  }

  async #finishWrite(file, { key, isSuccessor, follows }) {
    const unreadable = () => ({ damage: 'it cannot be read' });
    const current = await this.#read(this.#at(key)).catch(unreadable);
    const previous = await this.#read(this.#at(key + PREVIOUS)).catch(unreadable);
    // Beside an entry that is not whole, nothing is touched.
    if (current === undefined ? previous !== undefined : current.decoded === undefined) return;
    const isNext = isSuccessor && follows === current?.decoded.revision;
    const found = await this.#read(file).catch(() => undefined);
    if (found === undefined) return;
    if (found.decoded === undefined || !isNext) {
      // Where it cannot be removed it harms nobody, and the next one tries again.
      await fs.unlink(file).catch(() => {});
      return;
    }
    await at(file, async () => {
      const handle = await open(file);
      await handle.sync().finally(() => handle.close());
      if (current !== undefined) await this.#keepPrevious(key, current.decoded);
      await fs.rename(file, this.#at(key));
    });
    await this.#sync();
  }

  async #setAside(key, file) {
    for (let number = 1; ; number += 1) {
      const aside = this.#at(`${key}.damaged-${number}`);
      const taken = await at(aside, () => exists(aside));
      if (taken) continue;
      await at(aside, () => fs.rename(file, aside));
      return this.#sync();
    }
  }

  /** Writes a file of its own, durably, and returns its path. */
  async #writeAside(key, prefix, bytes) {
    return at(this.#at(key), async () => {
      const [file, handle] = await this.#createWith(prefix, createNew);
      await this.#removedUnless(file, async () => {
        try {
          await handle.writeFile(bytes);
          await handle.sync();
        } finally {
          await handle.close();
        }
      });
      return file;
    });
  }

  /** Gives the current generation its second name. */
  async #keepPrevious(key, current) {
    try {
      await this.#linkPrevious(key);
    } catch {
      // There are file systems without hard links.
      await this.#copyPrevious(key, current);
    }
  }

  /** Links under a third name first: `KEY.previous` is replaced and at no point missing. */
  async #linkPrevious(key) {
    const [link] = await this.#createWith(unfinished.previousPrefix(key), (link) => fs.link(this.#at(key), link));
    await this.#removedUnless(link, () => fs.rename(link, this.#at(key + PREVIOUS)));
    // Renaming one name of a file over another name of it does nothing and says that it worked.
    await fs.rm(link, { force: true });
  }

  async #copyPrevious(key, { revision, install, value }) {
    const bytes = encode(revision, install, value);
    const copy = await this.#writeAside(key, unfinished.previousPrefix(key), bytes);
    const previous = this.#at(key + PREVIOUS);
    await this.#removedUnless(copy, () => at(previous, () => fs.rename(copy, previous)));
  }

  /** Creates something under a name of its own; returns its path and what creating gave. */
  async #createWith(prefix, create) {
    for (;;) {
      const file = this.#at(prefix + randomBytes(4).toString('hex'));
      try {
        return [file, await create(file)];
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
    }
  }

  async #removedUnless(file, work) {
    try {
      await work();
    } catch (error) {
      await fs.rm(file, { force: true }).catch(() => {});
      throw error;
    }
  }

  async #names() {
    return at(this.#folder, () => fs.readdir(this.#folder));
  }

  async #sync() {
    return at(this.#folder, () => syncFolder(this.#folder));
  }
}

/** Marks the newest generation as the folder's own or as copied. */
function newest(decoded, install) {
  const isCopied = install !== undefined && decoded.install !== undefined && decoded.install !== install;
  return { ...decoded, provenance: isCopied ? 'copied' : 'newest' };
}

function previousGeneration(decoded) {
  return { ...decoded, provenance: 'previous' };
}

function corrupt(file, what) {
  return new StoreFailure(
    'corrupt',
    `${file}: ${what}, and there is no previous generation to fall back on; move the file away to start anew`,
  );
}

async function remove(file) {
  try {
    await fs.unlink(file);
  } catch (error) {
    if (error.code !== 'ENOENT') throw failure(error, file);
  }
}

async function exists(file) {
  try {
    await fs.lstat(file);
    return true;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}
