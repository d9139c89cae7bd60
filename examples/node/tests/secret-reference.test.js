import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';

import { referred } from '../src/secret-reference.js';
import { folder } from './folder.js';

test('a secret is read from a file of this account alone', async (t) => {
  const root = await folder(t);
  const file = path.join(root, 'acme.secret');
  await writeFile(file, 'hunter2\n', { mode: 0o600 });
  assert.equal((await referred({ file: 'acme.secret' }, root)).expose(), 'hunter2');
  await chmod(file, 0o640);
  await assert.rejects(referred({ file }, '/'), { kind: 'configuration', message: /lets others in/ });
  await assert.rejects(referred({ file: 'none' }, root), { kind: 'configuration', message: /missing/ });
});

test('a reference that is none does not show what stands there', async () => {
  for (const wrong of ['hunter2', null, 7, {}, { file: 7 }, { keyring: 'hunter2' }, { env: 'A', file: 'hunter2' }]) {
    await assert.rejects(referred(wrong, '/'), (error) => error.kind === 'configuration' && !/hunter2/.test(error.message + error.remedy));
  }
  await assert.rejects(referred({ env: 'PROCORE_AUTH_NO_SUCH_VARIABLE' }, '/'), { code: 'invalid-settings' });
});
