import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { folder } from './folder.js';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));

test('the example in the README runs, as far as it can without a sign-in', async (t) => {
  const [, example] = /```js\n(.*?)```/s.exec(await readFile(path.join(PACKAGE, 'README.md'), 'utf8'));
  const state = path.join(await folder(t), 'state');
  // In the package, its own name means itself.
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', example.replaceAll("'state", `'${state}`)], {
    cwd: PACKAGE,
    env: { PROCORE_CLIENT_SECRET: 'hunter2' },
    encoding: 'utf8',
  });
  assert.match(run.stderr, /kind: 'sign-in-required'/);
  assert.match(run.stderr, /remedy: 'Run `procore-auth login/);
  assert.doesNotMatch(run.stderr + run.stdout, /hunter2/);
});

test('the handler in the README closes the connection before the process ends', async (t) => {
  const [example, handler] = [...(await readFile(path.join(PACKAGE, 'README.md'), 'utf8')).matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  const state = path.join(await folder(t), 'state');
  const opened = example.slice(0, example.indexOf('const answer')).replaceAll("'state", `'${state}`);
  const signal = "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000); const { close } = connection; connection.close = async () => { await close.call(connection); console.log('closed'); };";
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', opened + handler + signal], {
    cwd: PACKAGE,
    env: { PROCORE_CLIENT_SECRET: 'hunter2' },
    encoding: 'utf8',
  });
  assert.deepEqual([run.status, run.stdout], [143, 'closed\n'], run.stderr);
});
