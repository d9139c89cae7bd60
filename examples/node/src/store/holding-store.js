/**
 * A connection's store. What cannot be written and must not be lost is held in memory until it is stored.
 *
 * While something is held, the store's lock is kept for this process, so that no other acts on what the store still says; the calls
 * of this process go on taking turns, and see what is held.
 */
import { createHash } from 'node:crypto';

import { StoreFailure } from './failure.js';
import { Turn } from './turn.js';

/** The pauses between two tries to store what is held, in milliseconds: the first, and the longest. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

export class HoldingStore {
  #inner;
  #clock;
  #recorder;
  #turn = new Turn();
  /** The store's lock, while a call has it or something is held. */
  #lock;
  /** What keys are to become: value, revision (what this process calls it) and expected (what it replaces in the store). */
  #held = new Map();
  /** Counts down from the top, where no store has its revisions. */
  #revisions = 0n;
  #lastFailure;
  #emptied = [];

  /**
   * @param {import('./plain-store.js').PlainStore} inner
   * @param {import('../clock.js').Clock} clock
   * @param {import('../recorder.js').Recorder} recorder
   */
  constructor(inner, clock, recorder) {
    this.#inner = inner;
    this.#clock = clock;
    this.#recorder = recorder;
  }

  /** Whether anything lives in this process alone. */
  get holds() {
    return this.#held.size > 0;
  }

  async get(key) {
    const held = this.#held.get(key);
    return held === undefined ? stored(await this.#inner.get(key)) : entryOf(held);
  }

  async put(key, value, expected) {
    const held = this.#held.get(key);
    if (held !== undefined && expected !== held.revision) return { conflict: true, current: entryOf(held) };
    return this.#noting(() =>
      held === undefined ? this.#put(key, value, expected) : this.#replace(key, value, held),
    );
  }

  async delete(key, expected) {
    const held = this.#held.get(key);
    if (held === undefined) return this.#delete(key, expected);
    if (held.revision !== expected) return { conflict: true, current: entryOf(held) };
    return this.#deleteHeld(key, held);
  }

  async list(prefix) {
    const held = [...this.#held.keys()].filter((key) => key.startsWith(prefix));
    return [...new Set([...(await this.#inner.list(prefix)), ...held])].sort();
  }

  /**
   * Holds an entry, in place of the one at `expected`. Returns what to call it from now on. The caller has the lock.
   * @param {string} key
   * @param {Uint8Array} value
   * @param {bigint | undefined} expected
   */
  hold(key, value, expected) {
    const isFirst = !this.holds;
    this.#revisions += 1n;
    const revision = 2n ** 64n - 1n - this.#revisions;
    const earlier = this.#held.get(key);
    const replaced = earlier !== undefined && earlier.revision === expected ? earlier.expected : expected;
    this.#held.set(key, { value, revision, expected: replaced });
    if (isFirst) {
      this.#tellHeld();
      this.#storeWhatIsHeld();
    }
    return revision;
  }

  /**
   * Takes the turn in this process and the store's lock, unless that is kept already. Returns what frees both; `undefined` where they
   * were not free within `span` milliseconds.
   * @param {number} span
   * @returns {Promise<(() => Promise<void>) | undefined>}
   */
  async lock(span) {
    const until = performance.now() + span;
    const endTurn = await this.#turn.take(span);
    if (endTurn === undefined) return undefined;
    try {
      if (!this.holds) {
        this.#lock = await this.#inner.lock(Math.max(0, until - performance.now()));
        if (this.#lock === undefined) {
          endTurn();
          return undefined;
        }
      }
    } catch (error) {
      endTurn();
      throw error;
    }
    return async () => {
      if (!this.holds) await this.#release();
      endTurn();
    };
  }

  /** Waits until no call has the lock and nothing is held. */
  async settled() {
    for (;;) {
      // A call that has its turn may have received what it has not saved yet.
      const endTurn = await this.#turn.take(Infinity);
      const emptied = this.holds ? new Promise((resolve) => this.#emptied.push(resolve)) : undefined;
      endTurn();
      if (emptied === undefined) return;
      await emptied;
    }
  }

  /**
   * Keeps a reply with tokens that a stopped plugin left, under a key of its own, and tells so.
   * @param {Uint8Array} reply
   */
  async keepUnread(reply) {
    const cause = 'The plugin was stopped before it had saved them: by a defect, or a limit.';
    try {
      const key = await this.#keepUnder('unread-reply', reply);
      if (key === undefined) return;
      const message = `New tokens were received; the reply is kept as \`${key}\`.`;
      this.#tell('alert', 'kept-aside', message, cause, 'Sign in: `procore-auth login`. Report it.');
    } catch (error) {
      const message = `New tokens were received and could not be kept: ${error.message}.`;
      this.#tell('alert', 'tokens-lost', message, cause, 'Mend the store, and sign in: `procore-auth login`. Report it.');
    }
  }

  async #put(key, value, expected) {
    const write = await this.#inner.put(key, value, expected === undefined ? undefined : Number(expected));
    return written(write);
  }

  async #delete(key, expected) {
    return written(await this.#inner.delete(key, Number(expected)));
  }

  /** Writes what takes the place of a held entry. Where that fails, the held one stays. */
  async #replace(key, value, held) {
    let write = await this.#put(key, value, held.expected);
    if (write.current !== undefined && same(write.current.value, held.value)) {
      // An earlier try did write, and could not say so.
      write = await this.#put(key, value, write.current.revision);
    }
    if (write.stored !== undefined) this.#saved(key);
    return write;
  }

  /** Deletes a held entry, and what it was to replace. What somebody else wrote meanwhile stays. */
  async #deleteHeld(key, held) {
    const current = stored(await this.#inner.get(key));
    if (current !== undefined) {
      const isOurs = current.revision === held.expected || same(current.value, held.value);
      if (!isOurs) return { conflict: true, current };
      const deleted = await this.#delete(key, current.revision);
      if (deleted.current !== undefined) return deleted;
    }
    this.#letGo(key);
    return { stored: held.revision };
  }

  async #noting(work) {
    try {
      return await work();
    } catch (error) {
      this.#lastFailure = error;
      throw error;
    }
  }

  /** Tries again and again, between the turns of the calls, until nothing is held. */
  async #storeWhatIsHeld() {
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await this.#clock.sleep(pause);
      const endTurn = await this.#turn.take(Infinity);
      for (const [key, held] of [...this.#held]) {
        await this.#noting(() => this.#store(key, held)).catch(() => {});
      }
      if (!this.holds) await this.#release();
      endTurn();
      if (!this.holds) return;
    }
  }

  /** Stores what is held. It is newer than what somebody wrote without the lock meanwhile, which is kept aside. */
  async #store(key, held) {
    let { expected } = held;
    for (let tries = 0; tries < 3; tries += 1) {
      const write = await this.#put(key, held.value, expected);
      const theirs = write.current;
      if (write.stored !== undefined || (theirs !== undefined && same(theirs.value, held.value))) {
        this.#saved(key);
        return;
      }
      if (theirs !== undefined) await this.#keepAside(key, theirs.value);
      expected = theirs?.revision;
    }
  }

  async #keepAside(key, value) {
    const aside = await this.#keepUnder(`${key}-conflict`, value);
    if (aside === undefined) return;
    this.#tell(
      'alert',
      'write-without-lock',
      `Somebody changed the store without its lock while tokens could not be saved: what was written is kept as \`${aside}\`.`,
      'A program writes the store without taking its lock, or the lock excludes nobody.',
      'Move the store to a local disk, and let only procore-auth write it. Look at what was kept before you delete it.',
    );
  }

  /** Keeps bytes under a key that they name themselves; `undefined` where they are kept already. */
  async #keepUnder(label, value) {
    const name = createHash('sha256').update(value).digest('hex').slice(0, 16);
    const aside = `${label}-${name}`;
    const write = await this.#inner.put(aside, value, undefined);
    if ('stored' in write) return aside;
    if (write.current !== undefined && same(write.current.value, value)) return undefined;
    throw new StoreFailure('corrupt', `the entry ${aside} is not what was kept there`);
  }

  #saved(key) {
    if (!this.#letGo(key)) return;
    this.#recorder.record('info', 'tokens-saved', 'The tokens that could not be saved are saved now.');
  }

  /** Holds an entry no more. Returns whether it was the last one. */
  #letGo(key) {
    this.#held.delete(key);
    if (this.holds) return false;
    for (const emptied of this.#emptied.splice(0)) emptied();
    return true;
  }

  async #release() {
    const lock = this.#lock;
    this.#lock = undefined;
    await lock?.release();
  }

  #tellHeld() {
    this.#tell(
      'alert',
      'tokens-not-saved',
      'New tokens were received and cannot be saved: they live in this process alone. The save is tried again until it works.',
      this.#lastFailure === undefined ? '' : `${this.#lastFailure.code}: ${this.#lastFailure.message}`,
      'Make the store writable while this process runs. If the process ends before, its sign-in is lost: `procore-auth login`.',
    );
  }

  #tell(severity, code, message, cause, remedy) {
    this.#recorder.record(severity, code, message, [
      ['cause', cause],
      ['remedy', remedy],
    ]);
  }
}

/** The store counts in numbers, the contract in 64 bits: what is held has revisions that no number is exact enough for. */
function stored(entry) {
  return entry === undefined ? undefined : { ...entry, revision: BigInt(entry.revision) };
}

function written(write) {
  return 'stored' in write ? { stored: BigInt(write.stored) } : { conflict: true, current: stored(write.current) };
}

function entryOf({ value, revision }) {
  return { value, revision, provenance: 'newest' };
}

function same(a, b) {
  return Buffer.compare(a, b) === 0;
}
