/**
 * Which installation a store's folder belongs to, so that a copy of it is known for one: the folder's mark, `.install`, holds a random
 * id, and the inode and the birth of the mark itself. Whoever copies the folder makes a new file with an old content.
 */
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';

import { at } from './failure.js';
import { createNew, open, syncFolder } from './private-file.js';

const MARK = '.install';

/** Longer than any mark. */
const LONGEST = 4096;

/**
 * Returns the id of the folder's installation; makes a new mark where there is none or it was copied. `undefined` where it cannot be
 * told, since the folder cannot be written. To be called with the guard held.
 * @param {string} folder
 */
export async function of(folder) {
  return (await marked(folder)) ?? renew(folder).catch(() => undefined);
}

/**
 * Returns the id of the folder's mark, if that is the original.
 * @param {string} folder
 */
export async function marked(folder) {
  const file = path.join(folder, MARK);
  const handle = await open(file);
  if (handle === undefined) return undefined;
  return at(file, async () => {
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(LONGEST), 0, LONGEST, 0);
      const here = bodyOf(await handle.stat({ bigint: true }));
      return original(buffer.toString('utf8', 0, bytesRead), here);
    } finally {
      await handle.close();
    }
  });
}

async function renew(folder) {
  const install = randomBytes(16).toString('hex');
  // Born with mode 600, and renamed: the inode stays.
  const temporary = path.join(folder, `${MARK}.${randomBytes(4).toString('hex')}`);
  const handle = await createNew(temporary);
  try {
    const { inode, born } = bodyOf(await handle.stat({ bigint: true }));
    const birth = born === undefined ? '' : `,"born":${born}`;
    await handle.writeFile(`{"procore-auth":1,"install":"${install}","inode":${inode}${birth}}`);
    await handle.sync();
    await fs.rename(temporary, path.join(folder, MARK));
  } catch (error) {
    await fs.rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  await syncFolder(folder);
  return install;
}

function original(text, here) {
  let mark;
  try {
    mark = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof mark?.install !== 'string' || !Number.isInteger(mark['procore-auth'])) return undefined;
  const there = { inode: integer(text, 'inode'), born: integer(text, 'born') };
  return agree(here, there) ? mark.install : undefined;
}

/** Nanoseconds since 1970 are more than a number holds: they are read from the text. */
function integer(text, name) {
  const [, digits] = new RegExp(`"${name}"\\s*:\\s*(\\d+)`).exec(text) ?? [];
  return digits === undefined ? undefined : BigInt(digits);
}

function bodyOf(stats) {
  return { inode: stats.ino, born: stats.birthtimeNs > 0n ? stats.birthtimeNs : undefined };
}

/** Some file systems number their inodes anew at each mount; a birth stays. What is known of one alone says nothing. */
function agree(ours, theirs) {
  if (ours.born !== undefined && theirs.born !== undefined) return ours.born === theirs.born;
  return theirs.inode === undefined || ours.inode === theirs.inode;
}
