import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';

import { systemClock } from '../src/clock.js';
import { Connection, FileStore, Plugin, Secret } from '../src/index.js';
import { folder } from './folder.js';

const SETTINGS = {
  name: 'acme',
  environment: 'production',
  clientId: 'id',
  clientSecret: 'hunter2',
  redirectUri: 'http://localhost:9876/callback',
};
const TOKENS = '{"access_token":"a","refresh_token":"b"}';

/** A connection with a plugin that does what it should not. What reaches the network is recorded. */
async function hostile(t, limits = {}, clock = systemClock) {
  const requests = [];
  const events = [];
  const http = {
    send: async (request) => {
      requests.push(request);
      return { status: 200, headers: [], body: Buffer.from(TOKENS) };
    },
  };
  const store = await FileStore.open(await folder(t), 'acme');
  const plugin = new Plugin(await readFile(new URL('./hostile-plugin.js', import.meta.url), 'utf8'), new Map(), { component: '', sha256: '' });
  const journals = [{ record: (_, event) => events.push(event) }];
  const connection = new Connection(SETTINGS, { plugin, store, http, journals, limits, clock });
  t.after(() => connection.close());
  return { connection, requests, events, store };
}

/** After each attack an honest call works. */
async function contained(connection, attack, expected) {
  await assert.rejects(attack, expected);
  assert.equal((await connection.status()).refreshes, 7);
}

test('a request to a foreign origin reaches no network', async (t) => {
  const { connection, requests } = await hostile(t);
  // The failure is the plugin's to deal with; this one throws it on.
  await contained(connection, connection.verify(), { code: 'plugin-trapped', message: /origin-not-permitted/ });
  await contained(connection, connection.revoke(), { message: /invalid-request/ });
  await contained(connection, connection.forget(), { message: /invalid-request/ });
  assert.deepEqual(requests, []);
});

test('the client secret is filled in for the login origin, and nowhere else', async (t) => {
  const { connection, requests } = await hostile(t);
  await contained(connection, connection.beginLogin(), { message: /secret-not-permitted/ });
  assert.deepEqual(requests, []);
  assert.equal(await connection.finishLogin('code'), 200);
  assert.equal(requests[0].body.toString(), 'a=hunter2');
  assert.equal(requests[0].url.host, 'login.procore.com');
});

test('an endless loop is ended', async (t) => {
  const { connection } = await hostile(t, { compute: 3000 });
  await contained(connection, connection.accessToken(), { kind: 'internal', code: 'plugin-out-of-time' });
});

test('a flood of host calls is ended', async (t) => {
  const { connection, events } = await hostile(t, { hostCalls: 0 });
  await contained(connection, connection.renewRejected(new Secret('a')), { code: 'too-many-host-calls' });
  assert(events.length <= 41_001, 'a policy needs 41 000 calls');
});

test('a flood of memory is ended', async (t) => {
  const { connection } = await hostile(t, { compute: 100_000 });
  await contained(connection, connection.request('GET', '/'), { code: 'plugin-out-of-memory' });
});

test('what is against the contract is ended', async (t) => {
  const { connection, store } = await hostile(t);
  await contained(connection, connection.parked(), { code: 'plugin-trapped', message: /1024 random bytes/ });
  await contained(connection, connection.discard('a'), { message: /without the lock/ });
  await contained(connection, connection.replay(), { message: /locked twice/ });
  const held = await store.lock(0);
  assert.notEqual(held, undefined, 'the lock was freed with the call');
  await held.release();
});

test('a fault that lasts is one alert', async (t) => {
  const { connection, events } = await hostile(t);
  for (let times = 0; times < 2; times += 1) await assert.rejects(connection.parked());
  assert.deepEqual(events.map(({ severity, code }) => `${severity} ${code}`), ['alert plugin-trapped', 'warning plugin-trapped']);
});

test('a fault of the host is told without its text', async (t) => {
  let broken = true;
  const now = () => {
    if (!broken) return Date.now();
    broken = false;
    throw new TypeError('hunter2');
  };
  const { connection, events } = await hostile(t, {}, { ...systemClock, now });
  await assert.rejects(connection.renewRejected(new Secret('a')), (error) => {
    assert.equal(error.code, 'host-panicked');
    assert.match(error.summary, /TypeError/);
    assert.doesNotMatch(JSON.stringify([error.message, error.summary, error.cause, error.remedy]), /hunter2/);
    return true;
  });
  assert.deepEqual(events.map(({ severity, code }) => `${severity} ${code}`), ['alert host-panicked']);
});

test('a reply that is larger than permitted does not reach the plugin', async (t) => {
  const { connection } = await hostile(t, { replySize: 10 });
  await assert.rejects(connection.finishLogin('code'), { message: /reply-too-large/ });
});

test('a key cannot leave its folder', async (t) => {
  const { connection } = await hostile(t);
  await contained(connection, connection.adopt(Buffer.from('{}')), { message: /invalid-key/ });
});

test('tokens that a stopped plugin had not saved are kept', async (t) => {
  const { connection, events, store } = await hostile(t);
  await contained(connection, connection.upkeep(), { code: 'plugin-trapped' });
  const [key] = await store.list('unread-reply-');
  assert.equal((await store.get(key)).value.toString(), TOKENS);
  assert(events.some(({ severity, code }) => severity === 'alert' && code === 'kept-aside'));
});

test('the thread of the plugin has no environment', async (t) => {
  const { connection } = await hostile(t);
  assert.deepEqual(await connection.diagnose(), { reaches: [] });
});
