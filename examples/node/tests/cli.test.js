/** The exit codes are those of `procore-auth`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { folder } from './folder.js';

const CLI = fileURLToPath(new URL('../cli.js', import.meta.url));
const GOOD = { state: 'state', name: 'acme', environment: 'sandbox', clientId: 'id', redirectUri: 'http://localhost:9876/callback' };

test('the exit codes are those of the tool', async (t) => {
  const home = await folder(t);
  await writeFile(path.join(home, 'good.json'), JSON.stringify(GOOD));
  await writeFile(path.join(home, 'bad.json'), JSON.stringify({ ...GOOD, environment: 'staging' }));
  for (const [code, ...words] of [
    [1, 'good.json', 'call', 'GET', 'https://evil.example/'],
    [1, 'missing.json', 'status'],
    [2, 'good.json', 'no-such-verb'],
    [2, 'good.json', 'status', '--no-such-flag'],
    [3, 'bad.json', 'status'],
    [4, 'good.json', 'token'],
    [4, 'good.json', 'status'],
  ]) {
    const run = spawnSync(process.execPath, [CLI, '--settings', ...words], { cwd: home, env: { PROCORE_CLIENT_SECRET: 'hunter2' }, encoding: 'utf8' });
    assert.equal(run.status, code, `${words}: ${run.stderr}`);
  }
});
