/**
 * Exclusive locks on files, owned by the kernel: the death of a holder frees its lock at once, and there is nothing to steal and
 * nothing to clean up.
 *
 * A waiter asks again every few milliseconds instead of waiting in the kernel: a thread that waits there cannot be called back. So a
 * waiter in the kernel, such as the Rust host's, may overtake one of this host's.
 */
import { promises as fs } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

import { StoreFailure, failure } from './failure.js';
import * as flock from './flock.js';
import { openLockFile } from './private-file.js';

/** The pauses between two looks at a lock: the first, and the longest. */
const FIRST_PAUSE = 1;
const LONGEST_PAUSE = 20;

/** Who holds a lock briefly needs it for a few small files. */
const BRIEFLY = 20_000;

/** A file with its lock, until it is released. */
export class Held {
  #handle;

  constructor(handle) {
    this.#handle = handle;
  }

  async release() {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle === undefined) return;
    flock.unlock(handle.fd);
    await handle.close();
  }
}

/**
 * Takes the lock on a file; `undefined` where another holder kept it for longer than `span` milliseconds. A span of 0 takes it if it
 * is free.
 * @param {string} file
 * @param {number} span
 * @returns {Promise<Held | undefined>}
 */
export async function hold(file, span) {
  const until = performance.now() + span;
  let pause = FIRST_PAUSE;
  let handle = await openLockFile(file);
  try {
    for (;;) {
      if (tryLock(handle, file)) {
        const held = new Held(handle);
        if (await isCurrent(handle, file)) {
          handle = undefined;
          return held;
        }
        // Somebody removed the file: a lock on it excludes nobody who comes later.
        await held.release();
        handle = await openLockFile(file);
        continue;
      }
      const left = until - performance.now();
      if (left <= 0) return undefined;
      await wait(Math.min(pause, left));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  } finally {
    await handle?.close();
  }
}

/**
 * Takes a lock that everybody holds for a moment only. Fails with `busy` where it does not come free.
 * @param {string} file
 */
export async function holdBriefly(file) {
  const held = await hold(file, BRIEFLY);
  if (held === undefined) {
    throw new StoreFailure('busy', `${file}: somebody has kept it locked for ${BRIEFLY / 1000} seconds`);
  }
  return held;
}

/**
 * Checks that locks exclude here, and waits for none. Some network file systems grant every lock to everybody.
 * @param {string} file
 */
export async function checkSupport(file) {
  if (!flock.isSupported) throw unsupported(file, 'this system has no flock');
  const first = await hold(file, 0);
  // Somebody else holds it, and that keeps this process out.
  if (first === undefined) return;
  try {
    const second = await hold(file, 0);
    if (second !== undefined) {
      await second.release();
      throw unsupported(file, 'two holders were granted one lock');
    }
  } finally {
    await first.release();
  }
}

function tryLock(handle, file) {
  try {
    return flock.tryLock(handle.fd);
  } catch (error) {
    if (['ENOLCK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'].includes(error.code)) {
      throw unsupported(file, error.code);
    }
    throw failure(error, file);
  }
}

async function isCurrent(handle, file) {
  const [ours, named] = await Promise.all([
    handle.stat({ bigint: true }),
    fs.lstat(file, { bigint: true }).catch(() => undefined),
  ]);
  return named !== undefined && ours.dev === named.dev && ours.ino === named.ino;
}

function unsupported(file, why) {
  return new StoreFailure(
    'locks-unsupported',
    `${file}: the file system does not support locks (${why}); keep the store on a local disk`,
  );
}
