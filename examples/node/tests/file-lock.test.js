import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';

import { checkSupport, hold } from '../src/store/file-lock.js';
import { folder } from './folder.js';

test('one holder at a time, in one process too', async (t) => {
  const lock = path.join(await folder(t), '.lock');
  const first = await hold(lock, 0);
  assert.equal(await hold(lock, 0), undefined);
  assert.equal(await hold(lock, 30), undefined);
  const waiting = hold(lock, 10_000);
  await first.release();
  const second = await waiting;
  assert.notEqual(second, undefined);
  await second.release();
  await checkSupport(lock);
});

test('it is the lock of flock(2), which Rust and Python take', async (t) => {
  const lock = path.join(await folder(t), '.lock');
  await (await hold(lock, 0)).release();
  const other = spawn('flock', ['--exclusive', lock, 'sh', '-c', 'echo held; read answer'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [error] = await Promise.race([once(other.stdout, 'data').then(() => []), once(other, 'error')]);
  if (error !== undefined) return t.skip(`no flock(1): ${error.code}`);
  assert.equal(await hold(lock, 0), undefined, 'both hold it');
  other.stdin.end('\n');
  const held = await hold(lock, 10_000);
  assert.notEqual(held, undefined);
  const refused = spawn('flock', ['--nonblock', lock, 'true']);
  assert.equal((await once(refused, 'exit'))[0], 1, 'both hold it');
  await held.release();
});

test('a lock on a file that was replaced does not count', async (t) => {
  const root = await folder(t);
  const lock = path.join(root, '.lock');
  const stale = await hold(lock, 0);
  await rename(lock, path.join(root, 'away'));
  const current = await hold(lock, 0);
  assert.notEqual(current, undefined);
  await Promise.all([stale.release(), current.release()]);
});

test('a file that lets others in, and a link, are refused', async (t) => {
  const root = await folder(t);
  await writeFile(path.join(root, 'open'), '', { mode: 0o644 });
  await symlink('open', path.join(root, 'link'));
  for (const name of ['open', 'link']) {
    await assert.rejects(hold(path.join(root, name), 0), { code: 'insecure-permissions' });
  }
});
