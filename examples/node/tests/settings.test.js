import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { inspect } from 'node:util';

import { Connection, FileStore, Secret } from '../src/index.js';
import { DEFAULT_POLICY, checked, fingerprint, toContract } from '../src/settings.js';
import { folder } from './folder.js';

const GOOD = { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'hunter2' };

test('settings are completed and their secret is hidden', () => {
  const settings = checked(GOOD);
  assert.deepEqual(settings.policy, DEFAULT_POLICY);
  assert.doesNotMatch(inspect([settings, toContract(settings, 'a/1')], { depth: 9 }), /hunter2/);
  assert.deepEqual(toContract(settings, 'a/1').grant, { tag: 'client-credentials' });
});

test('the fingerprint is that of the Rust host', () => {
  assert.equal(fingerprint(new Secret('hunter2')), '1dfff4543185f233');
});

test('settings that cannot work are refused with what to do', () => {
  for (const wrong of [
    { name: '../x' },
    { name: 'A' },
    { environment: 'staging' },
    { clientId: '' },
    { clientSecret: undefined },
    { companyId: 1.5 },
    { policy: { refreshPercent: 100 } },
    { policy: { refreshPercent: '80' } },
    { policy: { unknown: 1 } },
    { policy: { pkce: 1 } },
    { redirectURI: 'http://localhost:9876/callback' },
    { redirectUri: '' },
    { companyId: -1 },
    { companyId: 2 ** 70 },
    { policy: { tokenTimeout: 4999 } },
    { policy: { callTimeout: 999 } },
    { policy: { parkedAge: 59_999 } },
    { policy: { parkedCount: 0 } },
    { policy: { parkedBytes: 1023 } },
    { policy: { lockWait: 1000 } },
    { policy: { lockWait: 60_000, tokenTimeout: 60_000 } },
    { policy: 5 },
    { policy: null },
  ]) {
    assert.throws(() => checked({ ...GOOD, ...wrong }), { kind: 'configuration', code: 'invalid-settings', remedy: /./ }, inspect(wrong));
  }
});

test('what a connection is lent is checked too', () => {
  for (const wrong of [{ journal: [] }, { limits: { computing: 1 } }, { limits: { compute: '1' } }, { limits: { deadline: -1 } }, { journals: {} }]) {
    const lent = { plugin: {}, store: {}, http: {}, ...wrong };
    assert.throws(() => new Connection(GOOD, lent), { code: 'invalid-settings', remedy: /./ }, inspect(wrong));
  }
  for (const none of [{}, undefined]) assert.throws(() => new Connection(GOOD, none), { code: 'invalid-settings' });
  for (const none of [undefined, null, 'acme']) assert.throws(() => checked(none), { code: 'invalid-settings' });
});

test('the name of a store cannot name another folder than its own', async (t) => {
  const root = await folder(t);
  for (const name of ['../evil', '..', '.', '', 'a/b', '/tmp/evil', 'A', undefined, 7]) {
    await assert.rejects(FileStore.open(path.join(root, 'state'), name), { code: 'invalid-settings' }, inspect(name));
  }
  assert.deepEqual(await readdir(root), []);
});
