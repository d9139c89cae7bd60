import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile, cp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

import { withMemoryLimit } from '../scripts/memory-limit.js';
import { Answer } from '../src/answer.js';
import { checkNames } from '../src/contract.js';
import { Connection, FileStore, Plugin } from '../src/index.js';
import { digest } from '../src/plugin/manifest.js';
import { folder } from './folder.js';

const BUILT = fileURLToPath(new URL('../plugin', import.meta.url));

const EXPORTS = ['auth', 'api', 'advice'].map((name) => `procore:auth/${name}@0.1.0`);

test('a component that asks for more than the contract is refused', () => {
  checkNames(['procore:auth/http', 'procore:auth/store'], EXPORTS);
  for (const name of ['wasi:cli/environment', 'procore:auth/files', 'http']) {
    assert.throws(() => checkNames([name], EXPORTS), /does not lend/, name);
  }
  assert.throws(() => checkNames([], EXPORTS.slice(1)), /does not export/);
});

test('another version of the contract is refused by name', () => {
  checkNames([], EXPORTS.map((name) => name.replace('0.1.0', '0.1.9')));
  for (const version of ['0.2.0', '1.1.0', '']) {
    const exports = EXPORTS.map((name) => name.replace('0.1.0', version));
    assert.throws(() => checkNames([], exports), /0\.1\.0: use a matching pair/, version);
  }
});

/** A copy of the built plugin, to be tampered with. */
async function copied(t) {
  const copy = path.join(await folder(t), 'plugin');
  await cp(BUILT, copy, { recursive: true });
  return copy;
}

test('a plugin that is not there, or not the one that is expected, is refused', async (t) => {
  await assert.rejects(Plugin.load({ folder: await folder(t) }), { code: 'plugin-missing' });
  await assert.rejects(Plugin.load({ sha256: '0'.repeat(64) }), { kind: 'configuration', code: 'plugin-not-pinned' });
  const { sha256 } = await Plugin.load();
  assert.equal((await Plugin.load({ sha256: sha256.toUpperCase() })).sha256, sha256);
});

test('every file of the plugin is the one that was built', async (t) => {
  for (const name of await readdir(BUILT)) {
    if (name === 'manifest.json') continue;
    const copy = await copied(t);
    await appendFile(path.join(copy, name), '\n');
    await assert.rejects(Plugin.load({ folder: copy }), { code: 'plugin-damaged', message: new RegExp(name) }, name);
    await rm(path.join(copy, name));
    await assert.rejects(Plugin.load({ folder: copy }), { code: 'plugin-damaged' }, name);
  }
});

test('a pin covers the whole folder, also where its manifest agrees with it', async (t) => {
  const { sha256 } = await Plugin.load();
  const copy = await copied(t);
  await appendFile(path.join(copy, 'procore-auth.js'), '\n');
  const manifest = JSON.parse(await readFile(path.join(copy, 'manifest.json'), 'utf8'));
  manifest.files['procore-auth.js'] = digest(await readFile(path.join(copy, 'procore-auth.js')));
  await writeFile(path.join(copy, 'manifest.json'), JSON.stringify(manifest));
  await Plugin.load({ folder: copy });
  await assert.rejects(Plugin.load({ folder: copy, sha256 }), { code: 'plugin-not-pinned' });
});

test('what runs is what was checked', async (t) => {
  const copy = await copied(t);
  const plugin = await Plugin.load({ folder: copy });
  await rm(copy, { recursive: true });
  const store = await FileStore.open(await folder(t), 'acme');
  const settings = { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'hunter2' };
  const connection = new Connection(settings, { plugin, store });
  t.after(() => connection.close());
  assert.equal((await connection.status()).apiOrigin, 'https://sandbox.procore.com');
});

test('what cannot be meant is refused', async (t) => {
  for (const options of [{ sha265: 'ab' }, null, 'plugin', { sha256: 'ab' }, { sha256: 5 }, { folder: 7 }, { folder: null }]) {
    await assert.rejects(Plugin.load(options), { code: 'invalid-settings' }, inspect(options));
  }
  const root = await folder(t);
  const manifest = { contract: '0.1.0', component: '', files: { 'procore-auth.js': '' } };
  for (const wrong of ['{', 'null', { files: { '../x': '' } }, { files: {} }, { files: null }, { component: undefined }]) {
    const text = typeof wrong === 'string' ? wrong : JSON.stringify({ ...manifest, ...wrong });
    await writeFile(path.join(root, 'manifest.json'), text);
    await assert.rejects(Plugin.load({ folder: root }), { code: 'plugin-damaged', message: /manifest\.json/ }, text);
  }
  await rm(path.join(root, 'manifest.json'));
  execFileSync('mkfifo', [path.join(root, 'manifest.json')]);
  await assert.rejects(Plugin.load({ folder: root }), { code: 'plugin-missing', message: /not a file/ });
});

test('the memory of the built plugin is bounded', async () => {
  const module = await readFile(new URL('../plugin/procore-auth.core.wasm', import.meta.url));
  const bounded = 80 * 2 ** 20;
  assert.deepEqual(withMemoryLimit(module, bounded), module);
  assert.notDeepEqual(withMemoryLimit(module, bounded / 2), module);
});

test('the plugin sends what it is given, and many calls share one refresh', async (t) => {
  const requests = [];
  const http = {
    send: async (request) => {
      requests.push(request);
      const tokens = { access_token: 'new', refresh_token: 'c', expires_in: 5400, token_type: 'Bearer' };
      const body = request.url.pathname === '/oauth/token' ? JSON.stringify(tokens) : '{"id":1}';
      return { status: 200, headers: [], body: Buffer.from(body) };
    },
  };
  const settings = { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'hunter2', redirectUri: 'http://localhost:9876/callback', companyId: 17 };
  const store = await FileStore.open(await folder(t), 'acme');
  const connection = new Connection(settings, { plugin: await Plugin.load(), store, http });
  t.after(() => connection.close());
  const old = { access_token: 'old', refresh_token: 'b', expires_in: 5400, created_at: Math.floor(Date.now() / 1000) - 6000 };
  await connection.adopt(Buffer.from(JSON.stringify(old)));
  const tokens = await Promise.all(Array.from({ length: 100 }, () => connection.accessToken()));
  assert(tokens.every((token) => token === tokens[0]));
  assert.equal(tokens[0].bearer.expose(), 'new');
  const refreshes = requests.filter(({ url }) => url.pathname === '/oauth/token');
  assert.equal(refreshes.length, 1);
  assert.match(refreshes[0].body.toString(), /client_secret=hunter2/);
  const answer = await connection.request('POST', '/rest/v1.0/projects', { json: { name: 'ä' } });
  assert.deepEqual([answer.status, answer.json()], [200, { id: 1 }]);
  const { url, headers, body } = requests.at(-1);
  assert.equal(url.href, 'https://sandbox.procore.com/rest/v1.0/projects');
  assert.equal(Buffer.from(body).toString(), '{"name":"ä"}');
  const sent = Object.fromEntries(headers);
  assert.deepEqual([sent.authorization, sent['procore-company-id'], sent['content-type']], ['Bearer new', '17', 'application/json']);
});

test('an answer is not lost for a header that nobody expects', () => {
  const headers = [{ name: 'a', value: 'b\u{fffd}\u{7f}' }, { name: 'a', value: 'c' }];
  assert.equal(new Answer({ status: 200, headers, body: new Uint8Array(), attempts: 1 }).headers.get('a'), 'b??, c');
});
