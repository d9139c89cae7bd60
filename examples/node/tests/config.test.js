import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';

import { readConfig } from '../src/index.js';
import { checked } from '../src/settings.js';
import { folder } from './folder.js';

const CONFIG = `
state = "state"

[network]
extra_ca = "ca.pem"
connect_to = ["api.procore.com:443=127.0.0.1:1"]

[alerts.ops]
command = ["true"]

[connections.acme]
environment = "sandbox"
client_id = "id"
client_secret = { file = "acme.secret" }
grant = "authorization-code"
redirect_uri = "http://localhost:9876/callback"
company_id = 17
policy = { token_timeout = "1m 30s", lock_wait = "2m", parked_age = "7d", refresh_percent = 70 }
`;

async function written(t, text) {
  const root = await folder(t);
  await writeFile(path.join(root, 'acme.secret'), 'hunter2\n', { mode: 0o600 });
  const file = path.join(root, 'config.toml');
  await writeFile(file, text, { mode: 0o600 });
  return { root, file };
}

test("the tool's configuration is read", async (t) => {
  const { root, file } = await written(t, CONFIG);
  const { settings, ...rest } = await readConfig(file);
  assert.deepEqual(rest, {
    state: path.join(root, 'state'),
    journal: path.join(root, 'state/journal.jsonl'),
    extraCa: [path.join(root, 'ca.pem')],
    connectTo: ['api.procore.com:443=127.0.0.1:1'],
  });
  const { clientSecret, policy, ...others } = checked(settings);
  assert.equal(clientSecret.expose(), 'hunter2');
  assert.deepEqual([policy.tokenTimeout, policy.lockWait, policy.parkedAge, policy.refreshPercent], [90_000, 120_000, 604_800_000, 70]);
  assert.deepEqual(others, { name: 'acme', environment: 'sandbox', clientId: 'id', redirectUri: 'http://localhost:9876/callback', companyId: 17 });
});

test('a mistake in it is told, and no secret', async (t) => {
  for (const [from, to] of [
    ['state =', 'sate ='],
    ['client_id', 'client_ID'],
    ['{ file = "acme.secret" }', '"hunter2"'],
    ['{ file = "acme.secret" }', '"hunter2'],
    ['{ file = "acme.secret" }', '{ keyring = "a" }'],
    ['authorization-code', 'password'],
    ['authorization-code', 'client-credentials'],
    ['redirect_uri', '# redirect_uri'],
    ['"1m 30s"', '90'],
    ['"1m 30s"', '"90 minutes"'],
    ['token_timeout', 'token_timeot'],
    ['[network]', '[encryption]\nkey = { env = "A" }\n[network]'],
    ['[connections.acme]', '[connections.b]\n[connections.acme]'],
    ['state =', 'default_connection = "b"\nstate ='],
    ['[network]', '[netwrok]'],
    ['"state"', '7'],
    ['"ca.pem"', '7'],
    ['["api.procore.com:443=127.0.0.1:1"]', '7'],
    ['[connections.acme]', '[connection.acme]'],
  ]) {
    assert(CONFIG.includes(from));
    const { file } = await written(t, CONFIG.replace(from, to));
    await assert.rejects(readConfig(file), (error) => error.kind === 'configuration' && !/hunter2/.test(error.message + error.remedy), to);
  }
});

test('one that everybody can write is refused, and one that is not there is told', async (t) => {
  const { root, file } = await written(t, CONFIG);
  await chmod(file, 0o602);
  await assert.rejects(readConfig(file), { code: 'insecure-permissions' });
  await assert.rejects(readConfig(path.join(root, 'none.toml')), { code: 'config-missing' });
  await assert.rejects(readConfig(root), { code: 'config-unreadable' });
});
