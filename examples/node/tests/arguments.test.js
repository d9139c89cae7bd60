import assert from 'node:assert/strict';
import test from 'node:test';
import { inspect } from 'node:util';

import { Connection, FileStore, Plugin, ProcoreAuthError } from '../src/index.js';
import { folder } from './folder.js';

const SETTINGS = { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'hunter2' };

/** A connection whose requests are recorded. */
async function recorded(t) {
  const requests = [];
  const http = {
    send: async (request) => {
      requests.push(request);
      const tokens = { access_token: 'a', expires_in: 5400, token_type: 'Bearer' };
      return { status: 200, headers: [], body: Buffer.from(JSON.stringify(tokens)) };
    },
  };
  const store = await FileStore.open(await folder(t), 'acme');
  const connection = new Connection(SETTINGS, { plugin: await Plugin.load(), store, http });
  t.after(() => connection.close());
  return { connection, requests };
}

async function refused(promise, what) {
  const error = await promise.then(() => undefined, (thrown) => thrown);
  assert(error instanceof ProcoreAuthError, `${what}: ${inspect(error)}`);
  assert.equal(error.kind, 'invalid-input', `${what}: ${error.message}`);
  assert.doesNotMatch(error.summary + error.remedy + error.cause, /hunter3/);
  return error;
}

test("a caller's mistake in a request is told as such, and nothing is sent", async (t) => {
  const { connection, requests } = await recorded(t);
  const circular = {};
  circular.self = circular;
  for (const options of [
    { companyId: -1 },
    { companyId: 1.5 },
    { companyId: 2 ** 70 },
    { companyId: '17' },
    { timeout: -1 },
    { timeout: NaN },
    { timeout: Infinity },
    { headers: { accept: 5 } },
    { headers: { 'x-secret': ['hunter3'] } },
    { headers: 5 },
    { body: 5 },
    { body: { hunter3: 1 } },
    { body: new Uint16Array(2) },
    { json: circular },
    { json: 1n },
    { json: () => {} },
    { json: {}, body: 'hunter3' },
    { idempotent: 'yes' },
    { park: 1 },
    { orderKey: 7 },
    { companyID: 5 },
    null,
    7,
  ]) {
    await refused(connection.request('GET', '/rest/v1.0/me', options), inspect(options));
  }
  await refused(connection.request(5, '/rest/v1.0/me'), 'method');
  for (const path of [5, undefined, '', 'rest', '/a b', 'https://evil.example/']) await refused(connection.request('GET', path), inspect(path));
  assert.deepEqual(requests, []);
});

test('a header that belongs to the host is named', async (t) => {
  const { connection, requests } = await recorded(t);
  for (const name of ['User-Agent', 'host', 'Content-Length', 'connection', 'Proxy-Authorization', 'Authorization']) {
    const { summary } = await refused(connection.request('GET', '/rest/v1.0/me', { headers: { [name]: 'a' } }), name);
    assert.match(summary, new RegExp(name, 'i'));
  }
  assert.deepEqual(requests, []);
});

test('headers may be those of the platform', async (t) => {
  const { connection, requests } = await recorded(t);
  await connection.request('GET', '/rest/v1.0/me', { headers: new Headers({ 'X-A': 'b' }) });
  assert.equal(Object.fromEntries(requests.at(-1).headers)['x-a'], 'b');
});

test("a caller's mistake elsewhere is told as such", async (t) => {
  const { connection } = await recorded(t);
  for (const [what, call] of Object.entries({
    'a callback': () => connection.finishLogin(undefined),
    'a rejected token': () => connection.renewRejected('hunter3'),
    'a reply': () => connection.adopt(5),
    'a reply that is null': () => connection.adopt(null),
    'the options of adopt': () => connection.adopt(Buffer.from('{}'), { replace: 'yes' }),
    'a visit': () => connection.upkeep(-1),
    'a broken visit': () => connection.upkeep(1.5),
    'an id to replay': () => connection.replay(5),
    'an id to discard': () => connection.discard(undefined),
  })) {
    await refused(call(), what);
  }
});
