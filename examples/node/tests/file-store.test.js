import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';

import { FileStore } from '../src/index.js';
import { encode } from '../src/store/entry-file.js';
import { PlainStore } from '../src/store/plain-store.js';
import { folder } from './folder.js';

const text = (entry) => entry?.value.toString();

/** A store with the values `one` and `two` of a key, written one after the other. */
async function written(t) {
  const root = await folder(t);
  const store = await FileStore.open(root, 'acme');
  const { stored: first } = await store.put('tokens', Buffer.from('one'), undefined);
  const { stored: second } = await store.put('tokens', Buffer.from('two'), first);
  const file = (name) => path.join(root, 'acme', name);
  return { root, store, first, second, file };
}

test('writes compare and swap', async (t) => {
  const { store, first, second } = await written(t);
  assert(second > first);
  for (const expected of [undefined, first]) {
    const { stored, current } = await store.put('tokens', Buffer.from('x'), expected);
    assert.deepEqual([stored, text(current), current.revision], [undefined, 'two', second]);
  }
  assert.equal((await store.delete('tokens', first)).current.revision, second);
  assert.equal((await store.put('other', Buffer.from('x'), 7)).current, undefined);
});

test('deleting leaves nothing behind, and a new entry has a new revision', async (t) => {
  const { store, second, file } = await written(t);
  await writeFile(file('tokens.damaged-1'), 'two', { mode: 0o600 });
  assert.equal((await store.delete('tokens', second)).stored, second);
  assert.equal(await store.get('tokens'), undefined);
  assert.deepEqual((await readdir(file('.'))).sort(), ['.guard', '.install', '.lock']);
  assert.notEqual((await store.put('tokens', Buffer.from('one'), undefined)).stored, second);
});

test('files are for this account alone, and others are refused', async (t) => {
  const { root, file } = await written(t);
  for (const name of await readdir(file('.'))) assert.equal((await stat(file(name))).mode & 0o777, 0o600, name);
  assert.equal((await stat(file('.'))).mode & 0o777, 0o700);
  await symlink(file('.'), path.join(root, 'linked'));
  await assert.rejects(FileStore.open(root, 'linked'), { code: 'insecure-permissions' });
  await mkdir(path.join(root, 'open'), { mode: 0o755 });
  await assert.rejects(FileStore.open(root, 'open'), { code: 'insecure-permissions' });
});

test('a torn entry falls back on the generation before, and is set aside', async (t) => {
  const { store, file } = await written(t);
  await truncate(file('tokens'), 100);
  const entry = await store.get('tokens');
  assert.deepEqual([text(entry), entry.provenance], ['one', 'previous']);
  assert((await readdir(file('.'))).includes('tokens.damaged-1'));
  await store.put('tokens', Buffer.from('three'), entry.revision);
  assert.equal((await store.get('tokens')).provenance, 'newest');
});

test('an older file that was put back does not pass for the newest', async (t) => {
  const { store, file } = await written(t);
  await copyFile(file('tokens.previous'), file('old'));
  await store.put('tokens', Buffer.from('three'), (await store.get('tokens')).revision);
  await rename(file('old'), file('tokens'));
  const entry = await store.get('tokens');
  assert.deepEqual([text(entry), entry.provenance], ['two', 'previous']);
});

test('an entry that cannot be read is a failure, never none', async (t) => {
  const { store, file } = await written(t);
  await rm(file('tokens.previous'));
  await truncate(file('tokens'), 100);
  for (const attempt of [() => store.get('tokens'), () => store.put('tokens', Buffer.from('x'), undefined)]) {
    await assert.rejects(attempt, { code: 'corrupt' });
  }
  await writeFile(file('tokens'), '{"procore-auth":2}\n', { mode: 0o600 });
  await assert.rejects(store.get('tokens'), { code: 'newer-format' });
});

test('whoever takes the lock finishes what a killed writer left', async (t) => {
  const { store, second, file } = await written(t);
  const next = encode(second + 2 ** 20, undefined, Buffer.from('three'));
  await writeFile(file(`.tokens.${second}.abc123`), next, { mode: 0o600 });
  await writeFile(file(`.tokens.${second - 1}.abc123`), next, { mode: 0o600 });
  await writeFile(file('.other.0.abc123'), next.subarray(0, 50), { mode: 0o600 });
  await (await store.lock(0)).release();
  assert.equal(text(await store.get('tokens')), 'three');
  assert.deepEqual((await readdir(file('.'))).filter((name) => /^\.(tokens|other)\./.test(name)), []);
});

test('a folder that was copied is known for one', async (t) => {
  const { root, file } = await written(t);
  await mkdir(path.join(root, 'copy'), { mode: 0o700 });
  for (const name of ['tokens', '.install']) await copyFile(file(name), path.join(root, 'copy', name));
  const copy = await FileStore.open(root, 'copy');
  assert.equal((await copy.get('tokens')).provenance, 'copied');
  const mark = await readFile(path.join(root, 'copy', '.install'), 'utf8');
  assert.match(mark, /^\{"procore-auth":1,"install":"[0-9a-f]{32}","inode":\d+(,"born":\d+)?\}$/);
  await FileStore.open(root, 'copy');
  assert.equal(await readFile(path.join(root, 'copy', '.install'), 'utf8'), mark);
});

test('two stores on one folder take turns', async (t) => {
  const { root } = await written(t);
  const stores = await Promise.all([1, 2, 3].map(() => FileStore.open(root, 'acme')));
  const increment = async (store) => {
    for (;;) {
      const entry = await store.get('count');
      const value = Buffer.from(String(Number(text(entry) ?? 0) + 1));
      if ((await store.put('count', value, entry?.revision)).stored !== undefined) return;
    }
  };
  await Promise.all(stores.flatMap((store) => Array.from({ length: 4 }, () => increment(store))));
  assert.equal(text(await stores[0].get('count')), '12');
});

test('what is encrypted is refused and stays', async (t) => {
  const { store } = await written(t);
  const plain = new PlainStore(store);
  const sealed = Buffer.from('\0sealed\0\x01rest', 'latin1');
  const { stored } = await store.put('session', sealed, undefined);
  for (const attempt of [
    () => plain.get('session'),
    () => plain.put('session', Buffer.from('{}'), undefined),
    () => plain.delete('session', 7),
  ]) {
    await assert.rejects(attempt, { code: 'key-unavailable' });
  }
  assert.deepEqual((await store.get('session')).value, sealed);
  assert.equal((await store.get('session')).revision, stored);
});
