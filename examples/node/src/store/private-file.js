/**
 * Files and folders that are for the agent's account only: folders 0700, files 0600, both from their creation. What is a symbolic
 * link, belongs to another account, or lets others in is refused, and is checked on the open file, not on its path.
 */
import { constants, promises as fs } from 'node:fs';
import path from 'node:path';

import { StoreFailure, at, failure } from './failure.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;

/** Never what a link points to; and opening a pipe must not wait for its other end. */
const ITSELF = O_NOFOLLOW | O_NONBLOCK;

const MODE = 0o600;

/**
 * Creates a folder and its missing parents. One that exists is left as it is.
 * @param {string} folder
 */
export async function createFolder(folder) {
  await at(folder, async () => {
    const first = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    if (first !== undefined) await syncFolder(path.dirname(folder));
  });
}

/**
 * Checks that a folder is for this account only.
 * @param {string} folder
 */
export async function checkFolder(folder) {
  const stats = await at(folder, () => fs.lstat(folder));
  if (!stats.isDirectory()) throw insecure(folder, 'is not a folder');
  checkAccess(stats, folder, '700');
}

/**
 * Opens a file for reading; `undefined` where there is none.
 * @param {string} file
 */
export async function open(file) {
  try {
    return await openChecked(file, O_RDONLY);
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw failure(error, file);
  }
}

/**
 * Opens a file that is there to be locked, and creates it where it is missing.
 * @param {string} file
 */
export async function openLockFile(file) {
  try {
    return await openChecked(file, O_RDWR | O_CREAT);
  } catch (error) {
    // Entries can be read from a read-only file system, and reading takes a lock at times.
    if (error.code === 'EROFS') return at(file, () => openChecked(file, O_RDONLY));
    throw failure(error, file);
  }
}

/**
 * Creates a file for writing. Fails with `EEXIST` where there is one.
 * @param {string} file
 */
export function createNew(file) {
  return fs.open(file, O_WRONLY | O_CREAT | O_EXCL | ITSELF, MODE);
}

/**
 * Opens a file for appending, and creates it where it is missing. Whom an existing file lets read is its owner's choice.
 * @param {string} file
 */
export async function openForAppending(file) {
  const handle = await fs.open(file, O_WRONLY | O_CREAT | O_APPEND | ITSELF, MODE);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new StoreFailure('io', `${file}: not a file`);
}

/**
 * Makes the names in a folder durable.
 * @param {string} folder
 */
export async function syncFolder(folder) {
  const handle = await fs.open(folder, O_RDONLY);
  try {
    await handle.sync();
  } catch (error) {
    // Some network and FUSE file systems know no such thing, and order renames themselves.
    if (error.code !== 'EINVAL') throw error;
  } finally {
    await handle.close();
  }
}

async function openChecked(file, flags) {
  let handle;
  try {
    handle = await fs.open(file, flags | ITSELF, MODE);
  } catch (error) {
    if (error.code === 'ELOOP' || error.code === 'EMLINK') throw insecure(file, 'is a symbolic link');
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw insecure(file, 'is not a file');
    checkAccess(stats, file, '600');
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function checkAccess(stats, file, wanted) {
  const us = process.geteuid();
  if (stats.uid !== us) {
    throw insecure(file, `belongs to the account with id ${stats.uid}, not to this one (${us})`);
  }
  if (stats.mode & 0o077) {
    const mode = (stats.mode & 0o777).toString(8);
    throw insecure(file, `lets others in (mode ${mode}); run: chmod ${wanted} ${JSON.stringify(file)}`);
  }
}

function insecure(file, what) {
  return new StoreFailure('insecure-permissions', `${file} ${what}`);
}
