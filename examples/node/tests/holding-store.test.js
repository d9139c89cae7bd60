import assert from 'node:assert/strict';
import test from 'node:test';

import { Recorder } from '../src/recorder.js';
import { StoreFailure } from '../src/index.js';
import { HoldingStore } from '../src/store/holding-store.js';

/** A store in memory on a disk that can be full, with a lock, and a clock whose sleeps end where a test says so. */
function setting() {
  const entries = new Map();
  const disk = {
    isFull: false,
    isLocked: false,
    entries,
    get: async (key) => entries.get(key),
    put: async (key, value, expected) => {
      if (disk.isFull) throw new StoreFailure('full', 'no space left');
      const current = entries.get(key);
      if (current?.revision !== expected) return { conflict: true, current };
      const revision = (expected ?? 0) + 1;
      entries.set(key, { value: Buffer.from(value), revision, provenance: 'newest' });
      return { stored: revision };
    },
    delete: async (key, expected) => {
      const current = entries.get(key);
      if (current?.revision !== expected) return { conflict: true, current };
      entries.delete(key);
      return { stored: expected };
    },
    list: async (prefix) => [...entries.keys()].filter((key) => key.startsWith(prefix)),
    lock: async () => {
      if (disk.isLocked) return undefined;
      disk.isLocked = true;
      return { release: async () => void (disk.isLocked = false) };
    },
  };
  const sleeps = [];
  const clock = { now: () => 0, elapsed: () => 0, sleep: () => new Promise((resolve) => sleeps.push(resolve)) };
  const codes = [];
  const journal = { record: (_, event) => codes.push(event.code) };
  const store = new HoldingStore(disk, clock, new Recorder('acme', clock, [journal]));
  const wake = () => sleeps.splice(0).forEach((resolve) => resolve());
  return { disk, store, codes, wake };
}

/** As a call does that received something and cannot save it. */
async function held(value = 'two') {
  const all = setting();
  const { disk, store } = all;
  const { stored: first } = await store.put('session', Buffer.from('one'), undefined);
  disk.isFull = true;
  const unlock = await store.lock(0);
  await assert.rejects(store.put('session', Buffer.from(value), first), { code: 'full' });
  const revision = store.hold('session', Buffer.from(value), first);
  await unlock();
  return { ...all, first, revision };
}

test('what is held is read here, keeps the lock, and is stored as soon as there is room', async () => {
  const { disk, store, codes, wake, revision } = await held();
  const entry = await store.get('session');
  assert.deepEqual([entry.value.toString(), entry.revision], ['two', revision]);
  assert(disk.isLocked, 'another process could act on what the store still says');
  const unlock = await store.lock(0);
  assert.notEqual(unlock, undefined, 'this process goes on');
  await unlock();
  wake();
  const settled = store.settled();
  disk.isFull = false;
  // The first try may have come before there was room.
  for (let tries = 0; store.holds && tries < 100; tries += 1) {
    wake();
    await new Promise(setImmediate);
  }
  await settled;
  assert.equal(disk.entries.get('session').value.toString(), 'two');
  assert(!disk.isLocked);
  assert.deepEqual(codes, ['tokens-not-saved', 'tokens-saved']);
});

test('what is held is replaced by its own revision only', async () => {
  const { disk, store, first, revision } = await held();
  const conflict = await store.put('session', Buffer.from('x'), first);
  assert.equal(conflict.current.revision, revision);
  disk.isFull = false;
  assert.equal((await store.put('session', Buffer.from('three'), revision)).stored, 2n);
  assert(!store.holds);
  assert.equal(disk.entries.get('session').value.toString(), 'three');
});

test('what somebody wrote without the lock meanwhile is kept as well', async () => {
  const { disk, store, codes, wake } = await held();
  disk.entries.set('session', { value: Buffer.from('other'), revision: 9, provenance: 'newest' });
  disk.isFull = false;
  wake();
  await store.settled();
  assert.equal(disk.entries.get('session').value.toString(), 'two');
  const [aside] = await disk.list('session-conflict-');
  assert.equal(disk.entries.get(aside).value.toString(), 'other');
  assert.deepEqual(codes, ['tokens-not-saved', 'write-without-lock', 'tokens-saved']);
});

test('calls of one process take turns, in order', async () => {
  const { store } = setting();
  const order = [];
  const turns = [1, 2, 3].map(async (number) => {
    const unlock = await store.lock(10_000);
    order.push(number);
    await unlock();
  });
  await Promise.all(turns);
  assert.deepEqual(order, [1, 2, 3]);
  const unlock = await store.lock(0);
  assert.equal(await store.lock(5), undefined);
  await unlock();
});

test('a reply that a stopped plugin left is kept', async () => {
  const { disk, store, codes } = setting();
  await store.keepUnread(Buffer.from('{"access_token":"a"}'));
  await store.keepUnread(Buffer.from('{"access_token":"a"}'));
  assert.equal((await disk.list('unread-reply-')).length, 1);
  assert.deepEqual(codes, ['kept-aside']);
});
